import type { Uuid } from "../../base/ids.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import { LATEST_METADATA, type Metadata } from "./metadata.js";
import { findReversals } from "./reversals.js";
import { toTransactions, TRANSACTION_COLUMNS, TRANSACTION_JOINS, type TransactionRow } from "./store.js";
import type { LedgerTransaction, ReversalSummary } from "./transaction.js";

/** A transaction as it is now: with its current metadata in place of its request's, and its reversals. */
export interface ShownTransaction {
  readonly transaction: LedgerTransaction;
  /** undefined if nothing of it was reversed. */
  readonly reversed: ReversalSummary | undefined;
}

interface ShownRow extends TransactionRow {
  /** null if it never changed. */
  readonly current_metadata: Metadata | null;
  readonly is_reversed: boolean;
}

const SHOWN = `${TRANSACTION_COLUMNS}, latest.metadata AS current_metadata, reversal.id IS NOT NULL AS is_reversed`;
// LIMIT has each looked up by its key: EXISTS would be planned as a hash of all reversals.
const SHOWN_JOINS = `${TRANSACTION_JOINS} LEFT JOIN LATERAL (${LATEST_METADATA}) latest ON true
LEFT JOIN LATERAL (SELECT r.id FROM transactions r WHERE r.reverses_id = t.id AND r.state = 1 LIMIT 1) reversal ON true`;

const BY_ID = `${SHOWN} FROM transactions t ${SHOWN_JOINS} WHERE t.id = ANY ($1::uuid[])`;
const BY_REQUEST = `${SHOWN} FROM requests q JOIN transactions t ON t.id = q.transaction_id ${SHOWN_JOINS}
WHERE q.caller = $1 AND q.request_id = $2`;

/**
 * Finds transactions by id; those that do not exist are left out.
 * @param reversalsMax the number of reversal ids of each, the latest ones
 */
export async function findShown(
  client: Queryable,
  ids: readonly Uuid[],
  reversalsMax: number,
): Promise<Map<Uuid, ShownTransaction>> {
  if (ids.length === 0) return new Map();
  const query = { name: "transactions-shown", text: BY_ID, values: [uuidArray(ids)] };
  const { rows } = await client.query<ShownRow>(query);
  return new Map((await toShown(client, rows, reversalsMax)).map((shown) => [shown.transaction.id, shown]));
}

/** Finds the transaction of a request; undefined if it has none. */
export async function findShownOfRequest(
  client: Queryable,
  { caller, requestId }: { readonly caller: Uuid; readonly requestId: Uuid },
  reversalsMax: number,
): Promise<ShownTransaction | undefined> {
  const query = { name: "transaction-shown-of-request", text: BY_REQUEST, values: [caller, requestId] };
  const { rows } = await client.query<ShownRow>(query);
  return (await toShown(client, rows, reversalsMax))[0];
}

async function toShown(
  client: Queryable,
  rows: readonly ShownRow[],
  reversalsMax: number,
): Promise<ShownTransaction[]> {
  const transactions = await toTransactions(client, rows);
  const reversedIds = rows.filter((row) => row.is_reversed).map(({ id }) => id);
  const reversed = await findReversals(client, reversedIds, reversalsMax);
  return transactions.map((transaction, index) => {
    const metadata = rows[index]?.current_metadata ?? null;
    const data = metadata === null ? transaction.data : { ...transaction.data, metadata };
    return { transaction: { ...transaction, data }, reversed: reversed.get(transaction.id) };
  });
}
