import type { Uuid } from "../../base/ids.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import type { Original } from "../decide/state.js";
import type { LedgerTransaction, ReversalSummary } from "./transaction.js";

/**
 * Finds the reversals of transactions, by id; transactions without any are left out.
 * @param idsMax the number of reversal ids to return for each, the latest ones
 */
export async function findReversals(
  client: Queryable,
  ids: readonly Uuid[],
  idsMax: number,
): Promise<Map<Uuid, ReversalSummary>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<{
    id: Uuid;
    amount: bigint;
    count: number;
    by_ids: Uuid[];
    has_legs: boolean;
  }>({
    name: "transactions-reversed",
    text: `SELECT reverses_id AS id, sum(amount)::bigint AS amount, count(*)::integer AS count,
        (array_agg(id::text ORDER BY journal_index))[greatest(count(*) - $2::integer, 0) + 1:] AS by_ids,
        bool_or(leg_account_ids IS NOT NULL) AS has_legs
      FROM transactions WHERE reverses_id = ANY($1::uuid[]) AND state = 1 GROUP BY reverses_id`,
    values: [uuidArray(ids), idsMax],
  });
  const legs = await findReversedLegs(
    client,
    rows.filter((row) => row.has_legs).map((row) => row.id),
  );
  return new Map(
    rows.map(({ id, amount, count, by_ids: byIds }) => [
      id,
      { amountMinor: amount, count, byIds, legs: legs.get(id) ?? NO_LEGS },
    ]),
  );
}

/** Returns a transaction and its reversals as decisions read them. */
export function toOriginal(transaction: LedgerTransaction, reversed: ReversalSummary | undefined): Original {
  const unassigned = new Map(reversed?.legs);
  const reversedLegs = (transaction.legs ?? []).map(({ accountId, amountMinor }) => {
    // Reversals are stored by account and side: assigns them to the matching legs in order.
    const key = legKey(accountId, amountMinor > 0n);
    const legMinor = amountMinor > 0n ? amountMinor : -amountMinor;
    const available = unassigned.get(key) ?? 0n;
    const assigned = available < legMinor ? available : legMinor;
    unassigned.set(key, available - assigned);
    return assigned;
  });
  return {
    id: transaction.id,
    movement: transaction,
    isPosted: transaction.failure === null,
    createTime: transaction.createTime,
    reversedMinor: reversed?.amountMinor ?? 0n,
    reversalCount: reversed?.count ?? 0,
    reversedLegs,
  };
}

const NO_LEGS: ReadonlyMap<string, bigint> = new Map();

/** Sums the reversed debits and credits of each account. */
async function findReversedLegs(client: Queryable, ids: readonly Uuid[]): Promise<Map<Uuid, Map<string, bigint>>> {
  const legs = new Map<Uuid, Map<string, bigint>>();
  if (ids.length === 0) return legs;
  const { rows } = await client.query<{ id: Uuid; account_id: Uuid; was_debit: boolean; amount: bigint }>({
    name: "transactions-reversed-legs",
    // A reversal's leg is on the opposite side.
    text: `SELECT t.reverses_id AS id, leg.account_id, leg.amount < 0 AS was_debit, sum(abs(leg.amount))::bigint AS amount
      FROM transactions t CROSS JOIN LATERAL unnest(t.leg_account_ids, t.leg_amounts) AS leg (account_id, amount)
      WHERE t.reverses_id = ANY($1::uuid[]) AND t.state = 1 GROUP BY 1, 2, 3`,
    values: [uuidArray(ids)],
  });
  for (const row of rows) {
    const byLeg = legs.get(row.id) ?? new Map<string, bigint>();
    legs.set(row.id, byLeg.set(legKey(row.account_id, row.was_debit), row.amount));
  }
  return legs;
}

function legKey(accountId: Uuid, isDebit: boolean): string {
  return `${accountId}/${isDebit ? "debit" : "credit"}`;
}
