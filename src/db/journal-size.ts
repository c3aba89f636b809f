import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { assertPresent } from "../base/assert.js";

/** The pool, or one connection of it. */
type Queryable = Pick<pg.ClientBase, "query">;

/** The size of a database's journal, for callers that wait for it to grow. */
export interface JournalSize {
  /** Reads the size after a short delay. Callers during the delay share one statement; later callers get the next. */
  next(): Promise<bigint>;
}

/** @param everyMs the delay; no statement is sent while no caller waits */
export function pollJournalSize(pool: Queryable, everyMs: number): JournalSize {
  let upcoming: Promise<bigint> | undefined;
  const readLater = async (): Promise<bigint> => {
    await delay(everyMs);
    // Callers from now on may know of a commit that the statement does not see.
    upcoming = undefined;
    return readJournalSize(pool);
  };
  return { next: () => (upcoming ??= readLater()) };
}

/** Reads the number of journal records, which is the index of the next one. */
export async function readJournalSize(client: Queryable): Promise<bigint> {
  const { rows } = await client.query<{ size: bigint }>({
    name: "journal-size",
    text: "SELECT size FROM journal_head WHERE id = 1",
  });
  return assertPresent(rows[0], "the journal's head").size;
}
