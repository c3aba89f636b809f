import { EntitySchema, type EntitySchemaColumnOptions } from "typeorm";
import type { AccountState, NormalSide } from "../base/codes.js";

/** An account of the ledger. Amounts are minor units on the normal side. */
export interface AccountRow {
  readonly id: string;
  /** `cash`, `fees`, …; null for a wallet. */
  readonly systemAccount: string | null;
  readonly currencyCode: string;
  readonly normalSide: NormalSide;
  readonly state: AccountState;
  /** null for no limit. */
  readonly minBalance: bigint | null;
  readonly maxBalance: bigint | null;
  /** The velocity limits as encodeVelocityLimits() writes them; null for none. */
  readonly velocityLimits: string | null;
  /** The number of the row's latest change; null for none. The database sets it. */
  readonly change: bigint | null;
}

/** An account with what its latest entry says. */
export interface AccountStateRow extends AccountRow {
  readonly balance: bigint;
  readonly pendingDebits: bigint;
  readonly pendingCredits: bigint;
  /** The number of its entries. */
  readonly sequence: bigint;
}

type Columns<Row> = { readonly [Name in keyof Row]-?: EntitySchemaColumnOptions };

const COLUMNS: Columns<AccountRow> = {
  id: { type: "uuid", primary: true, primaryKeyConstraintName: "accounts_pkey" },
  systemAccount: { type: "varchar", length: 32, name: "system_account", nullable: true },
  currencyCode: { type: "varchar", length: 12, name: "currency_code" },
  normalSide: { type: "smallint", name: "normal_side" },
  state: { type: "smallint", default: 1 },
  minBalance: { type: "bigint", name: "min_balance", nullable: true },
  maxBalance: { type: "bigint", name: "max_balance", nullable: true },
  velocityLimits: { type: "text", name: "velocity_limits", nullable: true },
  change: { type: "bigint", nullable: true },
};

export const AccountEntity = new EntitySchema<AccountRow>({
  name: "Account",
  tableName: "accounts",
  columns: COLUMNS,
  indices: [
    {
      name: "accounts_system",
      columns: ["currencyCode", "systemAccount"],
      unique: true,
      where: "(system_account IS NOT NULL)",
    },
    { name: "accounts_system_id", columns: ["id"], where: "(system_account IS NOT NULL)" },
    { name: "accounts_change", columns: ["change"], where: "(change IS NOT NULL)" },
  ],
  checks: [{ name: "accounts_normal_side", expression: "normal_side = 1 OR normal_side = 2" }],
});

/** The view of the accounts as they are. */
export const AccountStateEntity = new EntitySchema<AccountStateRow>({
  name: "AccountState",
  tableName: "account_states",
  synchronize: false,
  columns: {
    ...COLUMNS,
    balance: { type: "bigint" },
    pendingDebits: { type: "bigint", name: "pending_debits" },
    pendingCredits: { type: "bigint", name: "pending_credits" },
    sequence: { type: "bigint" },
  },
});
