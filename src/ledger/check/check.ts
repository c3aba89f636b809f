import type { PoolClient } from "pg";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { cancelUntil } from "../../db/cancel.js";
import type { Database } from "../../db/database.js";
import { READ_WHOLE_TABLES } from "../../db/session.js";
import { countsSince, lawsSince } from "./laws-since.js";
import { LAWS, type Law } from "./laws.js";

/** One thing that does not add up. */
export interface Fault {
  readonly law: Law;
  /** The account, transaction or request, the journal index, or the currency. */
  readonly subject: string;
  readonly detail: string;
}

/** What was looked at, and what is wrong; `faults` are the first of `faultCount`. */
export interface IntegrityReport {
  readonly accountCount: bigint;
  readonly transactionCount: bigint;
  readonly entryCount: bigint;
  readonly recordCount: bigint;
  readonly faultCount: bigint;
  readonly faults: readonly Fault[];
  /** How many records the journal had at the moment of the check. */
  readonly journalSize: bigint;
}

/** How far a check is. */
export interface IntegrityProgress {
  /** 0 until the check has begun. */
  readonly journalSize: bigint;
  readonly lawsDone: number;
  readonly lawsTotal: number;
  /** The one that is being checked. */
  readonly law: Law | undefined;
  /** How many rows the laws so far have read, and all will have; 0 until they are counted. */
  readonly rowsRead: bigint;
  readonly rowsTotal: bigint;
}

export interface CheckOptions {
  /** The first record of the journal that is checked, with what it touches; 0 or none: everything is. */
  readonly from?: bigint;
  /** Ends the check, and with it what the database does for it. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: IntegrityProgress) => void;
}

/**
 * Checks every law on all books, or each that can be asked of what is new on that, at one snapshot, while postings go on.
 * Fails with CALLER_GONE once the signal has ended it.
 * @param faultsMax how many faults to name at the most; all are counted
 */
export async function checkIntegrity(
  database: Database,
  faultsMax: number,
  options: CheckOptions = {},
): Promise<IntegrityReport> {
  const { signal } = options;
  const assertWanted = (): void => {
    if (signal?.aborted === true) fail({ reason: "CALLER_GONE" });
  };
  assertWanted();
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
      const report = await readAll(client, faultsMax, options);
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
    assertWanted();
    throw error;
  }
}

const ignore = (): void => undefined;

/** The driver's own limit for a statement, in ms: a day. */
const ENDLESS = { query_timeout: 86_400_000 };

async function readAll(
  client: PoolClient,
  faultsMax: number,
  { from = 0n, signal, onProgress = () => undefined }: CheckOptions,
): Promise<IntegrityReport> {
  await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
  // The check reads everything, so its time grows with the books.
  await client.query("SET LOCAL statement_timeout = 0");
  await client.query("SET LOCAL work_mem = '64MB'");
  if (from === 0n) await client.query(READ_WHOLE_TABLES);
  const { counts: text, laws } = from === 0n ? ALL : await since(client, from);
  signal?.throwIfAborted();
  const { rows } = await client.query<Counts>({ text, ...ENDLESS });
  const counts = assertPresent(rows[0], "the counts");
  const rowsTotal = laws.reduce((sum, [law]) => sum + countRows(law, counts), 0n);
  const faults: Fault[] = [];
  let faultCount = 0n;
  let rowsRead = 0n;
  for (const [lawsDone, [law, query]] of laws.entries()) {
    signal?.throwIfAborted();
    onProgress({ journalSize: counts.size, lawsDone, lawsTotal: laws.length, law, rowsRead, rowsTotal });
    const found = await client.query<{ subject: string; detail: string; total: bigint }>({
      text: `SELECT subject, detail, count(*) OVER () AS total FROM (${query}) broken LIMIT $1`,
      values: [faultsMax],
      ...ENDLESS,
    });
    rowsRead += countRows(law, counts);
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
    journalSize: counts.size,
  };
}

interface Counts {
  readonly accounts: bigint;
  readonly transactions: bigint;
  readonly entries: bigint;
  readonly records: bigint;
  readonly size: bigint;
}

const ALL = {
  counts: `
    SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM transactions) AS transactions,
      (SELECT count(*) FROM entries) AS entries, size AS records, size FROM journal_head`,
  laws: Object.entries(LAWS) as [Law, string][],
};

async function since(client: PoolClient, index: bigint) {
  const { rows } = await client.query<{ index: bigint | null }>({
    text: "SELECT max(first_index) AS index FROM journal_batches WHERE first_index <= $1",
    values: [index],
  });
  const place = { index, batchIndex: rows[0]?.index ?? 0n };
  return { counts: countsSince(place), laws: lawsSince(place) };
}

/** What a law reads most of. */
const READS: Readonly<Partial<Record<Law, readonly (keyof Counts)[]>>> = {
  TRANSACTION_BALANCED: ["entries"],
  BALANCE_IS_SUM_OF_ENTRIES: ["accounts", "entries"],
  SEQUENCE_DENSE: ["accounts", "entries"],
  RUNNING_BALANCE: ["entries", "entries"],
  WITHIN_LIMITS: ["accounts"],
  CURRENCY_SUMS_TO_ZERO: ["accounts"],
  JOURNAL_DENSE: ["records"],
  TRANSACTION_IN_JOURNAL: ["transactions", "records"],
  REQUEST_ONCE: ["transactions", "transactions"],
  PENDING_IS_SUM_OF_HOLDS: ["accounts"],
  HOLD_MATCHES_STEPS: ["transactions"],
  REVERSALS_WITHIN_ORIGINAL: ["transactions"],
};

function countRows(law: Law, counts: Counts): bigint {
  return (READS[law] ?? ["transactions", "entries"]).reduce((sum, table) => sum + counts[table], 0n);
}
