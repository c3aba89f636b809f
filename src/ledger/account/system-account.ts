import type { NormalSide } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import type { Queryable } from "../../db/database.js";

/** A system account that has no entry yet. null: no limit. */
export interface NewSystemAccount {
  readonly id: Uuid;
  readonly name: string;
  readonly currencyCode: string;
  readonly normalSide: NormalSide;
  readonly minBalanceMinor: bigint | null;
  readonly maxBalanceMinor: bigint | null;
}

/**
 * Inserts a system account. Waits for a concurrent transaction that opens the same one.
 * @returns false if there is one already
 */
export async function insertSystemAccount(client: Queryable, account: NewSystemAccount): Promise<boolean> {
  const { id, name, currencyCode, normalSide, minBalanceMinor, maxBalanceMinor } = account;
  const { rowCount } = await client.query(
    `INSERT INTO accounts (id, system_account, currency_code, normal_side, min_balance, max_balance)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
    [id, name, currencyCode, normalSide, minBalanceMinor, maxBalanceMinor],
  );
  return rowCount === 1;
}
