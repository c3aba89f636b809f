import type { PoolClient, QueryConfig } from "pg";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { cancelUntil } from "../../db/cancel.js";
import type { Database } from "../../db/database.js";
import { READ_WHOLE_TABLES } from "../../db/session.js";
import type { RowCounts } from "./law.js";
import { LAWS, type LawName } from "./laws.js";
import { planLaws, type IntegrityProgress } from "./progress.js";
import { ENDLESS, findScope, type Scope } from "./scope.js";

/** One thing that breaks a law. */
export interface Fault {
  readonly law: LawName;
  /** The account, transaction or request, the journal index, or the currency. */
  readonly subject: string;
  readonly detail: string;
}

/** The result of a check; `faults` are the first of `faultCount`. */
export interface IntegrityReport {
  readonly accountCount: bigint;
  readonly transactionCount: bigint;
  readonly entryCount: bigint;
  readonly recordCount: bigint;
  readonly faultCount: bigint;
  readonly faults: readonly Fault[];
  /** The number of records in the journal at the moment of the check. */
  readonly journalSize: bigint;
}

export interface CheckOptions {
  /** The first journal record that is checked, with what it touches; 0 or none for the whole ledger. */
  readonly from?: bigint;
  /** Ends the check, and with it the database's work for it. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: IntegrityProgress) => void;
}

/**
 * Checks every law on the whole ledger, or on what is new in it, at one snapshot, while postings go on.
 * Fails with CALLER_GONE once the signal has ended it.
 * @param faultsMax how many faults to name at the most; all are counted
 */
export async function checkIntegrity(
  database: Database,
  faultsMax: number,
  options: CheckOptions = {},
): Promise<IntegrityReport> {
  const { signal } = options;
  const assertWaiting = (): void => {
    if (signal?.aborted === true) fail({ reason: "CALLER_GONE" });
  };
  assertWaiting();
  const client = await database.pool.connect();
  // The statement that meets the broken connection reports it.
  client.on("error", ignore);
  const over = new AbortController();
  try {
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const { pid } = assertPresent(rows[0], "the backend");
    const cancel = (): void => {
      // A statement that cannot be cancelled ends by itself.
      cancelUntil(over.signal, database, pid).catch(ignore);
    };
    signal?.addEventListener("abort", cancel);
    try {
      const report = await checkLaws(client, faultsMax, options);
      client.off("error", ignore);
      client.release();
      return report;
    } finally {
      over.abort();
      signal?.removeEventListener("abort", cancel);
    }
  } catch (error) {
    // The connection may be inside the transaction, be cancelled late, or gone: it is not used again.
    client.release(true);
    assertWaiting();
    throw error;
  }
}

const ignore = (): void => undefined;

/** Lets the rows of a scope be joined with each other by hashes; the rows of tables are looked up by their keys all the same. */
const JOIN_NEW_ROWS = "SET LOCAL enable_hashjoin = on";

async function checkLaws(
  client: PoolClient,
  faultsMax: number,
  { from = 0n, signal, onProgress = () => undefined }: CheckOptions,
): Promise<IntegrityReport> {
  await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
  // How long a check takes grows with the ledger.
  await client.query("SET LOCAL statement_timeout = 0");
  await client.query("SET LOCAL work_mem = '64MB'");
  await client.query(from === 0n ? READ_WHOLE_TABLES : JOIN_NEW_ROWS);
  const scope = await findScope(client, from);
  signal?.throwIfAborted();
  const { rows } = await client.query<RowCounts & { readonly size: bigint }>({ ...countQuery(scope), ...ENDLESS });
  const { size: journalSize, ...counts } = assertPresent(rows[0], "the counts");
  const faults: Fault[] = [];
  let faultCount = 0n;
  for (const progress of planLaws(counts, journalSize)) {
    signal?.throwIfAborted();
    onProgress(progress);
    const { law } = progress;
    const found = await client.query<{ subject: string; detail: string; total: bigint }>({
      ...lawQuery(law, scope, faultsMax),
      ...ENDLESS,
    });
    faultCount += found.rows[0]?.total ?? 0n;
    for (const { subject, detail } of found.rows.slice(0, faultsMax - faults.length))
      faults.push({ law, subject, detail });
  }
  await client.query("COMMIT");
  // What was cancelled late belongs to this connection, which must not be used again.
  signal?.throwIfAborted();
  return {
    accountCount: counts.accounts,
    transactionCount: counts.transactions,
    entryCount: counts.entries,
    recordCount: counts.records,
    faultCount,
    faults,
    journalSize,
  };
}

/** Returns the query that counts the scope's rows, and the journal's size. */
export function countQuery(scope: Scope): QueryConfig {
  const { accounts, transactions, entries, firstIndex } = scope;
  return {
    text: `${scope.definitions}
      SELECT (SELECT count(*) FROM ${accounts} a) AS accounts, (SELECT count(*) FROM ${transactions} t) AS transactions,
        (SELECT count(*) FROM ${entries} e) AS entries, greatest(size - ${firstIndex}, 0) AS records, size
      FROM journal_head`,
    values: [...scope.values],
  };
}

/** Returns the query for what breaks a law: subjects and details, up to so many, each with the number of all. */
export function lawQuery(law: LawName, scope: Scope, faultsMax: number): QueryConfig {
  return {
    text: `${scope.definitions}
      SELECT subject, detail, count(*) OVER () AS total FROM (${LAWS[law].findBreaches(scope)}) breaches LIMIT ${faultsMax}`,
    values: [...scope.values],
  };
}
