import { EntitySchema } from "typeorm";
import type { AccountState, NormalSide } from "../base/codes.js";

/** An account of the ledger. Only postings change its balance; amounts are minor units on the normal side. */
export interface AccountRow {
  readonly id: string;
  /** `cash`, `fees`, …; null for a wallet. */
  readonly systemAccount: string | null;
  readonly currencyCode: string;
  readonly normalSide: NormalSide;
  state: AccountState;
  balance: bigint;
  pendingDebits: bigint;
  pendingCredits: bigint;
  /** null for no limit. */
  minBalance: bigint | null;
  maxBalance: bigint | null;
  /** The velocity limits as encodeVelocityLimits() writes them; null for none. */
  velocityLimits: string | null;
  /** The number of entries. */
  sequence: bigint;
  /** A number that every change of the row replaces; it never recurs. */
  revision: bigint;
}

export const AccountEntity = new EntitySchema<AccountRow>({
  name: "Account",
  tableName: "accounts",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "accounts_pkey" },
    systemAccount: { type: "varchar", length: 32, name: "system_account", nullable: true },
    currencyCode: { type: "varchar", length: 12, name: "currency_code" },
    normalSide: { type: "smallint", name: "normal_side" },
    state: { type: "smallint", default: 1 },
    balance: { type: "bigint", default: 0 },
    pendingDebits: { type: "bigint", name: "pending_debits", default: 0 },
    pendingCredits: { type: "bigint", name: "pending_credits", default: 0 },
    minBalance: { type: "bigint", name: "min_balance", nullable: true },
    maxBalance: { type: "bigint", name: "max_balance", nullable: true },
    velocityLimits: { type: "text", name: "velocity_limits", nullable: true },
    sequence: { type: "bigint", default: 0 },
    revision: { type: "bigint", default: 0 },
  },
  indices: [
    {
      name: "accounts_system",
      columns: ["currencyCode", "systemAccount"],
      unique: true,
      where: "(system_account IS NOT NULL)",
    },
    { name: "accounts_system_id", columns: ["id"], where: "(system_account IS NOT NULL)" },
  ],
  checks: [
    { name: "accounts_normal_side", expression: "normal_side = 1 OR normal_side = 2" },
    { name: "accounts_min_balance", expression: "min_balance IS NULL OR balance >= min_balance" },
    { name: "accounts_max_balance", expression: "max_balance IS NULL OR balance <= max_balance" },
    { name: "accounts_pending", expression: "pending_debits >= 0 AND pending_credits >= 0" },
    { name: "accounts_sequence", expression: "sequence >= 0" },
  ],
});
