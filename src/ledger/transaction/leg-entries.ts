import type { Uuid } from "../../base/ids.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import type { Entry } from "../account/entry.js";

/** The entries of posted transactions with legs, by transaction id, in the order of the legs. */
export type LegEntries = ReadonlyMap<Uuid, readonly Entry[]>;

interface LegRow {
  readonly id: Uuid;
  readonly account_id: Uuid;
  readonly currency_code: string;
  readonly is_wallet: boolean;
  readonly sequence: bigint;
  readonly amount: bigint;
  readonly balance_after: bigint;
  readonly pending_debits_after: bigint | null;
  readonly pending_credits_after: bigint | null;
}

const LEGS = `
SELECT t.id, e.account_id, leg.currency_code, a.system_account IS NULL AS is_wallet, e.sequence, e.amount, e.balance_after,
  e.pending_debits_after, e.pending_credits_after
FROM transactions t
CROSS JOIN LATERAL unnest(t.leg_account_ids, t.leg_sequences, t.leg_currency_codes) WITH ORDINALITY
  AS leg (account_id, sequence, currency_code, position)
JOIN entries e ON e.account_id = leg.account_id AND e.sequence = leg.sequence
JOIN accounts a ON a.id = e.account_id
WHERE t.id = ANY ($1::uuid[])
ORDER BY t.id, leg.position`;

/** Finds the entries of transactions with legs; rejected transactions have none. */
export async function findLegEntries(client: Queryable, ids: readonly Uuid[]): Promise<LegEntries> {
  const entries = new Map<Uuid, Entry[]>();
  if (ids.length === 0) return entries;
  const { rows } = await client.query<LegRow>({ name: "legs-of-transactions", text: LEGS, values: [uuidArray(ids)] });
  for (const row of rows) {
    const transactionEntries = entries.get(row.id) ?? [];
    if (transactionEntries.length === 0) entries.set(row.id, transactionEntries);
    transactionEntries.push({
      accountId: row.account_id,
      currencyCode: row.currency_code,
      isWallet: row.is_wallet,
      sequence: row.sequence,
      amountMinor: row.amount,
      balanceAfterMinor: row.balance_after,
      pendingDebitsAfterMinor: row.pending_debits_after ?? 0n,
      pendingCreditsAfterMinor: row.pending_credits_after ?? 0n,
    });
  }
  return entries;
}
