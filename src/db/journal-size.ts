import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { assertPresent } from "../base/assert.js";

/** The pool, or one connection of it. */
type Queryable = Pick<pg.ClientBase, "query">;

/** How far the journal of a database is, for those who wait for it to grow. */
export interface JournalSize {
  /** How many records there are a moment from now. Whoever asks meanwhile shares the one statement; who comes later gets another. */
  next(): Promise<bigint>;
}

/** @param everyMs the moment; while nobody asks, nothing is asked of the database */
export function pollJournalSize(pool: Queryable, everyMs: number): JournalSize {
  let upcoming: Promise<bigint> | undefined;
  const ask = async (): Promise<bigint> => {
    await delay(everyMs);
    // Who comes from now on may know of a commit that the statement does not see.
    upcoming = undefined;
    return readJournalSize(pool);
  };
  return { next: () => (upcoming ??= ask()) };
}

/** How many records the journal has: the index of the next one. */
export async function readJournalSize(client: Queryable): Promise<bigint> {
  const { rows } = await client.query<{ size: bigint }>({
    name: "journal-size",
    text: "SELECT size FROM journal_head WHERE id = 1",
  });
  return assertPresent(rows[0], "the journal's head").size;
}
