import { EntitySchema } from "typeorm";
import type { HoldState } from "../base/codes.js";

/** Reserved money. Its id is that of the transaction that made it. */
export interface HoldRow {
  readonly id: string;
  /** The wallet whose money is reserved. */
  readonly accountId: string;
  /** The recipient of captures; null for none. */
  readonly toAccountId: string | null;
  readonly currencyCode: string;
  readonly amount: bigint;
  readonly captured: bigint;
  readonly state: HoldState;
  readonly expireTime: Date;
  readonly createTime: Date;
  readonly updateTime: Date;
  /** A random number that each change of the hold replaces. */
  readonly revision: bigint;
}

export const HoldEntity = new EntitySchema<HoldRow>({
  name: "Hold",
  tableName: "holds",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "holds_pkey" },
    accountId: { type: "uuid", name: "account_id" },
    toAccountId: { type: "uuid", name: "to_account_id", nullable: true },
    currencyCode: { type: "varchar", length: 12, name: "currency_code" },
    amount: { type: "bigint" },
    captured: { type: "bigint" },
    state: { type: "smallint" },
    expireTime: { type: "timestamptz", name: "expire_time" },
    createTime: { type: "timestamptz", name: "create_time" },
    updateTime: { type: "timestamptz", name: "update_time" },
    revision: { type: "bigint" },
  },
  indices: [
    { name: "holds_account", columns: ["accountId", "id"] },
    { name: "holds_active", columns: ["accountId", "id"], where: "(state = 1)" },
    { name: "holds_due", columns: ["expireTime", "id"], where: "(state = 1)" },
  ],
  checks: [{ name: "holds_captured", expression: "captured >= 0 AND captured <= amount" }],
});
