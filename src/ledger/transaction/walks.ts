import type { Uuid } from "../../base/ids.js";
import { int2Array, textArray, uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { TRANSACTION_STATE } from "../../base/codes.js";
import type { TransactionFilter } from "./filter.js";

/**
 * A walk down an ordered index that meets every transaction a filter selects, newest first. The first three parameters of its query are the
 * journal index below which it begins, the one at which it ends, and the number of rows.
 */
interface Walk {
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A row of a walk; its id is null for a journal record of no transaction. A transaction may have several rows, in succession. */
export interface WalkRow {
  readonly id: Uuid | null;
  readonly journal_index: bigint;
}

/** A range of journal indexes to walk down. */
export interface WalkRange {
  /** Exclusive. */
  readonly below: bigint;
  /** Inclusive. */
  readonly from: bigint;
  /** The number of rows to read. */
  readonly limit: number;
}

/** Reads the next rows of the walk that leads furthest down the journal, which has the fewest transactions to examine. */
export async function walkFurthest(
  client: Queryable,
  filter: TransactionFilter,
  { below, from, limit }: WalkRange,
): Promise<readonly WalkRow[]> {
  let furthest: readonly WalkRow[] | undefined;
  for (const { name, text, values } of listWalks(filter)) {
    const { rows } = await client.query<WalkRow>({ name, text, values: [below, from, limit, ...values] });
    if (furthest === undefined || isFurther(rows, furthest, limit)) furthest = rows;
  }
  return furthest ?? [];
}

function isFurther(rows: readonly WalkRow[], than: readonly WalkRow[], limit: number): boolean {
  if (rows.length < limit || than.length < limit) return rows.length < than.length;
  const [last, other] = [rows.at(-1), than.at(-1)];
  return last !== undefined && other !== undefined && last.journal_index < other.journal_index;
}

/** Lists the walks that the filter permits, at least one. */
function listWalks({ externalReference, metadata, accountIds, states }: TransactionFilter): readonly Walk[] {
  const walks: Walk[] = [];
  if (externalReference !== "")
    walks.push({ name: "transactions-of-reference", text: OF_REFERENCE, values: [externalReference] });
  for (const { key, values } of metadata) {
    walks.push(
      values === null
        ? { name: "transactions-of-key", text: OF_KEY, values: [key] }
        : { name: "transactions-of-values", text: OF_VALUES, values: [key, textArray([...new Set(values)])] },
    );
  }
  if (accountIds !== null) {
    const walkedStates = states.length === 0 ? Object.values(TRANSACTION_STATE) : states;
    walks.push({
      name: "transactions-list",
      text: OF_ACCOUNTS,
      values: [uuidArray(accountIds), int2Array(walkedStates)],
    });
  }
  return walks.length === 0 ? [{ name: "transactions-of-journal", text: OF_JOURNAL, values: [] }] : walks;
}

const OF_REFERENCE = `
SELECT id, journal_index FROM transactions
WHERE external_reference = $4 AND journal_index < $1::bigint AND journal_index >= $2::bigint
ORDER BY journal_index DESC LIMIT $3`;

const OF_KEY = `
SELECT transaction_id AS id, journal_index FROM transaction_metadata
WHERE key = $4 AND journal_index < $1::bigint AND journal_index >= $2::bigint
ORDER BY journal_index DESC LIMIT $3`;

const OF_VALUES = `
SELECT p.transaction_id AS id, p.journal_index
FROM unnest($5::text[]) AS requested (value) CROSS JOIN LATERAL (
  SELECT transaction_id, journal_index FROM transaction_metadata
  WHERE key = $4 AND value = requested.value AND journal_index < $1::bigint AND journal_index >= $2::bigint
  ORDER BY key DESC, value DESC, journal_index DESC LIMIT $3
) p
ORDER BY p.journal_index DESC LIMIT $3`;

// For each account: its posted transactions by the entries' primary key, entered by binary search; its rejected ones by their partial
// indexes and by rejected_legs. A transaction has a row for each of its entries on the accounts. The cost does not grow with the number of
// transactions before or after the page.
const OF_ACCOUNTS = `
WITH bounds AS (
  SELECT w.id, entry_sequence_before_index(w.id, $1::bigint) AS below,
    CASE WHEN $2::bigint = 0 THEN 0 ELSE entry_sequence_before_index(w.id, $2::bigint) END AS above
  FROM unnest($4::uuid[]) AS w (id)
)
SELECT id, journal_index FROM (
  SELECT e.transaction_id AS id, e.journal_index
  FROM bounds p CROSS JOIN LATERAL (
    SELECT transaction_id, journal_index FROM entries
    WHERE account_id = p.id AND sequence <= p.below AND sequence > p.above
    ORDER BY sequence DESC LIMIT $3
  ) e WHERE ${TRANSACTION_STATE.POSTED} = ANY ($5::smallint[])
  UNION ALL
  SELECT r.id, r.journal_index
  FROM bounds p CROSS JOIN LATERAL (
    (SELECT id, journal_index FROM transactions
     WHERE debit_account_id = p.id AND state = ${TRANSACTION_STATE.REJECTED} AND journal_index < $1 AND journal_index >= $2
     ORDER BY journal_index DESC LIMIT $3)
    UNION ALL
    (SELECT id, journal_index FROM transactions
     WHERE credit_account_id = p.id AND state = ${TRANSACTION_STATE.REJECTED} AND journal_index < $1 AND journal_index >= $2
     ORDER BY journal_index DESC LIMIT $3)
    UNION ALL
    (SELECT transaction_id, journal_index FROM rejected_legs
     WHERE account_id = p.id AND journal_index < $1 AND journal_index >= $2
     ORDER BY journal_index DESC LIMIT $3)
  ) r WHERE ${TRANSACTION_STATE.REJECTED} = ANY ($5::smallint[])
) found
ORDER BY journal_index DESC LIMIT $3`;

// The journal itself: sorted by batch first, so that no more batches are unnested than are needed.
const OF_JOURNAL = `
SELECT CASE WHEN r.type IN (${RECORD_TYPE.TRANSACTION_POSTED}, ${RECORD_TYPE.TRANSACTION_REJECTED}) THEN r.id END AS id,
  b.first_index + r.position - 1 AS journal_index
FROM (
  SELECT first_index, record_ids, record_types FROM journal_batches
  WHERE first_index < $1::bigint
    AND first_index >= coalesce((SELECT max(first_index) FROM journal_batches WHERE first_index <= $2::bigint), 0)
  ORDER BY first_index DESC LIMIT $3
) b CROSS JOIN LATERAL unnest(b.record_ids, b.record_types) WITH ORDINALITY AS r (id, type, position)
WHERE b.first_index + r.position - 1 < $1::bigint AND b.first_index + r.position - 1 >= $2::bigint
ORDER BY b.first_index DESC, r.position DESC LIMIT $3`;
