import { EntitySchema } from "typeorm";

/**
 * A pair of a transaction's current metadata, by which transactions are found. Triggers of the database maintain it; the service's
 * role can only read it.
 */
export interface TransactionMetadataRow {
  readonly key: string;
  readonly value: string;
  readonly journalIndex: bigint;
  readonly transactionId: string;
}

export const TransactionMetadataEntity = new EntitySchema<TransactionMetadataRow>({
  name: "TransactionMetadata",
  tableName: "transaction_metadata",
  columns: {
    key: { type: "varchar", length: 64, primary: true, primaryKeyConstraintName: "transaction_metadata_pkey" },
    value: { type: "varchar", length: 512 },
    journalIndex: {
      type: "bigint",
      primary: true,
      name: "journal_index",
      primaryKeyConstraintName: "transaction_metadata_pkey",
    },
    transactionId: { type: "uuid", name: "transaction_id" },
  },
  indices: [{ name: "transaction_metadata_value", columns: ["key", "value", "journalIndex"] }],
});

/** A change of a transaction's metadata, which is never changed itself. */
export interface MetadataChangeRow {
  readonly transactionId: string;
  /** The number of the change: 1, 2, 3 and so on. */
  readonly revision: number;
  readonly caller: string;
  readonly setPairs: Record<string, string>;
  readonly removedKeys: readonly string[];
  /** The whole metadata after the change. */
  readonly metadata: Record<string, string>;
  readonly createTime: Date;
}

export const MetadataChangeEntity = new EntitySchema<MetadataChangeRow>({
  name: "MetadataChange",
  tableName: "metadata_changes",
  columns: {
    transactionId: {
      type: "uuid",
      primary: true,
      name: "transaction_id",
      primaryKeyConstraintName: "metadata_changes_pkey",
    },
    revision: { type: "integer", primary: true, primaryKeyConstraintName: "metadata_changes_pkey" },
    caller: { type: "uuid" },
    setPairs: { type: "jsonb", name: "set_pairs" },
    removedKeys: { type: "text", array: true, name: "removed_keys" },
    metadata: { type: "jsonb" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
  checks: [{ name: "metadata_changes_revision", expression: "revision > 0" }],
});
