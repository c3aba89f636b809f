import { present } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import { toIso, type Micros } from "../base/time.js";
import { int2Array, uuidArray } from "../db/binary-array.js";
import type { Queryable } from "../db/database.js";
import { TRANSACTION_STATE, type TransactionKind, type TransactionState } from "../entities/transaction.js";
import { findTransactions } from "./find.js";
import type { LedgerTransaction } from "./transaction.js";

/** Which transactions of some accounts are looked for; empty lists mean all. */
export interface TransactionFilter {
  readonly accountIds: readonly Uuid[];
  readonly kinds: readonly TransactionKind[];
  readonly states: readonly TransactionState[];
  /** Recorded at this time or later. */
  readonly from: Micros | null;
  /** Recorded before this time. */
  readonly before: Micros | null;
}

/** A page of transactions, newest first, and the journal index below which the next page starts, if there is one. */
export interface TransactionPage {
  readonly transactions: readonly LedgerTransaction[];
  readonly nextBelow: bigint | undefined;
}

// For each account: its posted transactions through the entries' primary key, entered by binary search at the page's
// place; its rejected ones through their partial indexes and
// the legs of those that have many. A transaction stands here once for each of its entries. So the
// cost does not grow with the number of transactions before or after the page.
const LIST = `
WITH places AS (
  SELECT w.id, entry_sequence_before_index(w.id, $2::bigint) AS below,
    CASE WHEN $3::bigint = 0 THEN 0 ELSE entry_sequence_before_index(w.id, $3::bigint) END AS above
  FROM unnest($1::uuid[]) AS w (id)
)
SELECT id, journal_index FROM (
  SELECT e.transaction_id AS id, e.journal_index
  FROM places p CROSS JOIN LATERAL (
    SELECT transaction_id, journal_index FROM entries
    WHERE account_id = p.id AND sequence <= p.below AND sequence > p.above
    ORDER BY sequence DESC LIMIT $4
  ) e WHERE ${TRANSACTION_STATE.POSTED} = ANY ($5::smallint[])
  UNION ALL
  SELECT r.id, r.journal_index
  FROM places p CROSS JOIN LATERAL (
    (SELECT id, journal_index FROM transactions
     WHERE debit_account_id = p.id AND state = ${TRANSACTION_STATE.REJECTED} AND journal_index < $2 AND journal_index >= $3
     ORDER BY journal_index DESC LIMIT $4)
    UNION ALL
    (SELECT id, journal_index FROM transactions
     WHERE credit_account_id = p.id AND state = ${TRANSACTION_STATE.REJECTED} AND journal_index < $2 AND journal_index >= $3
     ORDER BY journal_index DESC LIMIT $4)
    UNION ALL
    (SELECT transaction_id, journal_index FROM rejected_legs
     WHERE account_id = p.id AND journal_index < $2 AND journal_index >= $3
     ORDER BY journal_index DESC LIMIT $4)
  ) r WHERE ${TRANSACTION_STATE.REJECTED} = ANY ($5::smallint[])
) found
ORDER BY journal_index DESC LIMIT $4`;

const INDEX_FROM_TIME = "SELECT journal_index_from_time($1::timestamptz) AS index";

/** How many transactions one call looks at, per transaction asked for, before it answers with a page that is not full. */
const LOOKED_AT_MAX = 20;
const LAST_INDEX = 2n ** 63n - 1n;

/**
 * Lists the transactions that pass the filter, newest first.
 * @param below only those whose journal index is less; undefined for the first page
 * @param pageSize how many at the most, more than 0
 */
export async function listTransactions(
  client: Queryable,
  filter: TransactionFilter,
  below: bigint | undefined,
  pageSize: number,
): Promise<TransactionPage> {
  const page: LedgerTransaction[] = [];
  const from = filter.from === null ? 0n : await indexFromTime(client, filter.from);
  const end = filter.before === null ? LAST_INDEX : await indexFromTime(client, filter.before);
  let next = below === undefined || below > end ? end : below;
  for (let lookedAt = 0; lookedAt < LOOKED_AT_MAX * pageSize; lookedAt += pageSize) {
    const { rows } = await client.query<{ id: Uuid; journal_index: bigint }>({
      name: "transactions-list",
      text: LIST,
      values: [
        uuidArray(filter.accountIds),
        next,
        from,
        pageSize + 1,
        int2Array(filter.states.length === 0 ? Object.values(TRANSACTION_STATE) : filter.states),
      ],
    });
    // The rows of one transaction stand together.
    const distinct = rows.slice(0, pageSize).filter((row, index) => row.id !== rows[index - 1]?.id);
    const found = await findTransactions(
      client,
      distinct.map((row) => row.id),
    );
    for (const row of distinct) {
      const transaction = found.get(row.id);
      if (transaction === undefined) continue;
      if (filter.kinds.length > 0 && !filter.kinds.includes(transaction.kind)) continue;
      // The rest of what was looked at belongs to the next page.
      if (page.length === pageSize) return { transactions: page, nextBelow: next };
      page.push(transaction);
      next = row.journal_index;
    }
    const last = rows[pageSize - 1];
    if (rows.length <= pageSize || last === undefined) return { transactions: page, nextBelow: undefined };
    if (page.length === pageSize) return { transactions: page, nextBelow: next };
    next = last.journal_index;
  }
  return { transactions: page, nextBelow: next };
}

/** The first journal index at this time or later. */
async function indexFromTime(client: Queryable, time: Micros): Promise<bigint> {
  const { rows } = await client.query<{ index: bigint }>({
    name: "journal-index-from-time",
    text: INDEX_FROM_TIME,
    values: [toIso(time)],
  });
  return present(rows[0], "a journal index").index;
}
