import { assertPresent } from "../base/assert.js";
import type { Queryable } from "../db/database.js";

/** The end of the journal, and what it says of the ledger. */
export interface JournalHead {
  /** The number of records. */
  readonly size: bigint;
  /** A random number that everything replaces which changes what postings are decided from. */
  readonly revision: bigint;
  /** The number of changes of accounts' own rows so far. */
  readonly accountChanges: bigint;
}

const HEAD = "SELECT size, revision, account_changes FROM journal_head WHERE id = 1";

/** Reads the head. */
export function readHead(client: Queryable): Promise<JournalHead> {
  return findHead(client, "journal-head", HEAD);
}

/**
 * Locks the head until the database transaction ends: nothing is posted meanwhile, and no account changes. It is the last lock that
 * any writer takes, so that writers never wait for each other in a circle.
 */
export function lockHead(client: Queryable): Promise<JournalHead> {
  return findHead(client, "journal-head-lock", `${HEAD} FOR NO KEY UPDATE`);
}

async function findHead(client: Queryable, name: string, text: string): Promise<JournalHead> {
  const { rows } = await client.query<{ size: bigint; revision: bigint; account_changes: bigint }>({ name, text });
  const { size, revision, account_changes: accountChanges } = assertPresent(rows[0], "the journal's head");
  return { size, revision, accountChanges };
}
