import { NO_CALLER } from "../base/caller-context.js";
import { newId, type Uuid } from "../base/ids.js";
import { toIso, type Micros } from "../base/time.js";
import type { Database, Queryable } from "../db/database.js";
import { startSweep, type Sweep, type SweepOptions } from "../db/sweep.js";
import { inTransaction } from "../db/in-transaction.js";
import type { BalanceAlertEventRow } from "../entities/alert.js";
import { crossingDirection, watchedBalance } from "../entities/crossing.js";
import { RECORD_TYPE } from "../entities/journal.js";
import { appendRecords } from "../journal/append.js";

/** This reader's name among the cursors. */
const NAME = "balance_alerts";

/**
 * Starts the reader: it reads the journal from its cursor on, page by page, and records which thresholds of alerts were crossed.
 * Cursor and crossings are written in one database transaction, so that each is recorded once; of several processes one reads at
 * a time.
 */
export function startBalanceAlerts(
  database: Database,
  options: SweepOptions,
  onError: (error: unknown) => void,
): Sweep {
  return startSweep(options, async (limit) => (await readPage(database, limit)) >= limit, onError);
}

/**
 * Reads the next records of the journal, and records what they crossed.
 * @returns how many records it read: at least `limit` if there are as many; 0 when another process reads
 */
export function readPage(database: Database, limit: number): Promise<number> {
  return inTransaction(database, NO_CALLER, async ({ client }) => {
    const { rows } = await client.query<{ next_index: bigint }>(
      "SELECT next_index FROM reader_cursors WHERE name = $1 FOR UPDATE SKIP LOCKED",
      [NAME],
    );
    const from = rows[0]?.next_index;
    const end = from === undefined ? undefined : await findPageEnd(client, from, limit);
    if (from === undefined || end === undefined) return 0;
    const crossings = await findCrossings(client, from, end);
    await client.query("UPDATE reader_cursors SET next_index = $2 WHERE name = $1", [NAME, end]);
    if (crossings.length > 0) await recordCrossings(client, crossings);
    return Number(end - from);
  });
}

// Records that were appended together are read together.
const PAGE_END = `
SELECT max(first_index + size) AS end_index FROM (
  SELECT first_index, size, sum(size) OVER (ORDER BY first_index) - size AS before FROM (
    SELECT first_index, cardinality(record_ids) AS size FROM journal_batches WHERE first_index >= $1 ORDER BY first_index LIMIT $2
  ) batches
) page WHERE before < $2`;

/** Returns the index after the page's last record; undefined when there is nothing to read. */
async function findPageEnd(client: Queryable, from: bigint, limit: number): Promise<bigint | undefined> {
  const { rows } = await client.query<{ end_index: bigint | null }>({
    name: "alerts-page",
    text: PAGE_END,
    values: [from, limit],
  });
  return rows[0]?.end_index ?? undefined;
}

/** A transaction's crossing of an alert's threshold. */
interface Crossing {
  readonly alert_id: Uuid;
  readonly sequence: bigint;
  readonly transaction_id: Uuid;
  readonly journal_index: bigint;
  readonly direction: BalanceAlertEventRow["direction"];
  readonly balance_before: bigint;
  readonly balance_after: bigint;
  readonly create_time: Micros;
}

// From the page's transactions to their accounts, and on to the entries of those that have alerts. The entry before gives the
// balance before. OFFSET 0 has each looked up by its key: as plain joins the planner, which knows nothing of a page's length, may
// read whole tables for a few records.
const FIND_CROSSINGS = `
SELECT a.id AS alert_id, leg.sequence, t.id AS transaction_id, e.journal_index, crossing.direction, watched.balance_before,
  watched.balance_after, (extract(epoch FROM e.create_time) * 1000000)::bigint AS create_time
FROM journal_batches b
CROSS JOIN LATERAL unnest(b.record_ids, b.record_types) AS record (id, type)
CROSS JOIN LATERAL (
  SELECT id, debit_account_id, debit_sequence, credit_account_id, credit_sequence, leg_account_ids, leg_sequences
  FROM transactions WHERE id = record.id OFFSET 0
) t
-- A transaction with many legs has no sequences of two sides. The balances of an account between its legs never were: its legs
-- are one step.
CROSS JOIN LATERAL (
  VALUES (t.debit_account_id, t.debit_sequence, t.debit_sequence), (t.credit_account_id, t.credit_sequence, t.credit_sequence)
  UNION ALL SELECT account_id, max(sequence), min(sequence)
    FROM unnest(t.leg_account_ids, t.leg_sequences) AS legs (account_id, sequence) GROUP BY account_id
) AS leg (account_id, sequence, first_sequence)
CROSS JOIN LATERAL (
  SELECT id, threshold, direction, balance, start_index, end_index FROM balance_alerts
  WHERE account_id = leg.account_id AND (end_index IS NULL OR end_index > $1) OFFSET 0
) a
CROSS JOIN LATERAL (
  SELECT journal_index, balance_after, pending_debits_after, create_time FROM entries
  WHERE account_id = leg.account_id AND sequence = leg.sequence OFFSET 0
) e
LEFT JOIN LATERAL (
  SELECT balance_after, pending_debits_after FROM entries
  WHERE account_id = leg.account_id AND sequence = leg.first_sequence - 1 OFFSET 0
) before ON true
CROSS JOIN LATERAL (
  SELECT ${watchedBalance("a", "before")} AS balance_before, ${watchedBalance("a", "e")} AS balance_after
) watched
CROSS JOIN LATERAL (
  SELECT ${crossingDirection("a", "watched.balance_before", "watched.balance_after")} AS direction
) crossing
WHERE b.first_index >= $1 AND b.first_index < $2 AND record.type = ${RECORD_TYPE.TRANSACTION_POSTED}
  AND e.journal_index > a.start_index AND (a.end_index IS NULL OR e.journal_index < a.end_index)
  AND (SELECT end_index IS NULL OR end_index > $1 FROM balance_alerts ORDER BY end_index DESC LIMIT 1)
  AND crossing.direction IS NOT NULL
ORDER BY e.journal_index, leg.account_id, leg.sequence, a.id`;

async function findCrossings(client: Queryable, from: bigint, end: bigint): Promise<Crossing[]> {
  const { rows } = await client.query<Crossing>({
    name: "alerts-crossings",
    text: FIND_CROSSINGS,
    values: [from, end],
  });
  return rows;
}

async function recordCrossings(client: Queryable, crossings: readonly Crossing[]): Promise<void> {
  const ids = crossings.map(() => newId());
  await client.query({
    name: "alerts-record",
    text: `INSERT INTO balance_alert_events (id, alert_id, sequence, transaction_id, journal_index, direction, balance_before,
        balance_after, create_time)
      SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::bigint[], $6::smallint[], $7::bigint[], $8::bigint[],
        $9::timestamptz[])`,
    values: [
      ids,
      crossings.map((one) => one.alert_id),
      crossings.map((one) => one.sequence),
      crossings.map((one) => one.transaction_id),
      crossings.map((one) => one.journal_index),
      crossings.map((one) => one.direction),
      crossings.map((one) => one.balance_before),
      crossings.map((one) => one.balance_after),
      crossings.map((one) => toIso(one.create_time)),
    ],
  });
  await appendRecords(
    client,
    ids.map((id) => ({ id, type: RECORD_TYPE.BALANCE_ALERT_CROSSED })),
  );
}
