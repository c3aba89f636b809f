import { setTimeout as delay } from "node:timers/promises";
import type { Uuid } from "../../base/ids.js";
import type { Queryable } from "../../db/database.js";
import { listAccountIds, readAccounts } from "../account/store.js";
import type { Memory } from "./memory.js";

/** The accounts that are read together: a few milliseconds of the database's time. */
const ACCOUNTS_AT_ONCE = 2_000;
/** The pause after each read, in ms. */
const PAUSE_MS = 20;
/** The part of the memory that is filled; the rest is for accounts that are used. */
const FILL = 0.5;

/**
 * Reads accounts into the memory of a process that has just started, in the order of their ids, until half of it is full or all are
 * read: its postings need not wait for accounts to be read.
 * @throws the database's error; nothing depends on what was not read
 */
export async function warm(client: Queryable, memory: Memory, signal: AbortSignal): Promise<void> {
  let after: Uuid | undefined = FIRST_ID;
  while (after !== undefined && memory.fill < FILL && !signal.aborted) {
    const ids = await listAccountIds(client, after, ACCOUNTS_AT_ONCE);
    if (await memory.keepOthers(() => readAccounts(client, ids)))
      after = ids.length < ACCOUNTS_AT_ONCE ? undefined : ids.at(-1);
    await delay(PAUSE_MS, undefined, { signal }).catch(() => undefined);
  }
}

const FIRST_ID = "00000000-0000-0000-0000-000000000000";
