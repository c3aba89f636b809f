import { EntitySchema } from "typeorm";

/** What a wallet is beside the account of the same id that keeps its balance. */
export interface WalletRow {
  readonly id: string;
  readonly userId: string;
  label: string;
  metadata: Record<string, string>;
  /** Why it was frozen, unfrozen, closed or reopened last; empty when it never was. */
  stateReason: string;
  /** Counts the changes of label, metadata and state; the etag is made of it. */
  revision: number;
  readonly createTime: Date;
  updateTime: Date;
}

export const WalletEntity = new EntitySchema<WalletRow>({
  name: "Wallet",
  tableName: "wallets",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "wallets_pkey" },
    userId: { type: "uuid", name: "user_id" },
    label: { type: "varchar", length: 200 },
    metadata: { type: "jsonb" },
    stateReason: { type: "varchar", length: 500, name: "state_reason", default: "" },
    revision: { type: "integer" },
    createTime: { type: "timestamptz", name: "create_time" },
    updateTime: { type: "timestamptz", name: "update_time" },
  },
  indices: [{ name: "wallets_user_id", columns: ["userId", "id"] }],
});
