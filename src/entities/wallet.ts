import { EntitySchema } from "typeorm";

/** The part of a wallet that is not in the account of the same id, which has its balance. */
export interface WalletRow {
  readonly id: string;
  readonly userId: string;
  label: string;
  metadata: Record<string, string>;
  /** The reason for the latest change of its state; empty if there was none. */
  stateReason: string;
  /** The number of changes of label, metadata and state, which the etag is made of. */
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
    stateReason: { type: "varchar", length: 500, name: "state_reason" },
    revision: { type: "integer" },
    createTime: { type: "timestamptz", name: "create_time" },
    updateTime: { type: "timestamptz", name: "update_time" },
  },
  indices: [{ name: "wallets_user_id", columns: ["userId", "id"] }],
});
