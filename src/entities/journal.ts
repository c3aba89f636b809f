import { EntitySchema } from "typeorm";

/** The types of journal records, as they are stored. A number is never reused for another type. */
export const RECORD_TYPE = {
  TRANSACTION_POSTED: 1,
  TRANSACTION_REJECTED: 2,
  USER_CREATED: 3,
  USER_UPDATED: 4,
  USER_DELETED: 5,
  WALLET_CREATED: 6,
  WALLET_UPDATED: 7,
  CURRENCY_CREATED: 8,
  WALLET_CLOSED: 9,
  WALLET_FROZEN: 10,
  WALLET_UNFROZEN: 11,
  WALLET_REOPENED: 12,
  ACCOUNT_CREATED: 13,
  LIMITS_SET: 14,
  DEFAULT_LIMITS_SET: 15,
  RATE_SET: 16,
  TRANSACTION_METADATA_SET: 20,
  SCHEDULE_CREATED: 30,
  SCHEDULE_PAUSED: 31,
  SCHEDULE_RESUMED: 32,
  SCHEDULE_CANCELLED: 33,
  SCHEDULE_COMPLETED: 34,
  SCHEDULE_FAILED: 35,
  RUN_POSTED: 36,
  RUN_RETRIED: 37,
  RUN_SKIPPED: 38,
  RUN_FAILED: 39,
  BALANCE_ALERT_CREATED: 40,
  BALANCE_ALERT_DELETED: 41,
  BALANCE_ALERT_CROSSED: 42,
} as const;
export type RecordType = (typeof RECORD_TYPE)[keyof typeof RECORD_TYPE];

/** The end of the journal: one row, which every transaction that appends locks last, so that indexes follow commits. */
export interface JournalHeadRow {
  readonly id: number;
  readonly size: bigint;
  /** A random number that everything replaces which changes what postings are decided from. */
  readonly revision: bigint;
  /** The number of changes of accounts' own rows so far. */
  readonly accountChanges: bigint;
  /** The time of the latest record: time never decreases along the journal, whatever the clock does. */
  readonly lastTime: Date;
}

export const JournalHeadEntity = new EntitySchema<JournalHeadRow>({
  name: "JournalHead",
  tableName: "journal_head",
  columns: {
    id: { type: "smallint", primary: true, default: 1, primaryKeyConstraintName: "journal_head_pkey" },
    size: { type: "bigint", default: 0 },
    revision: { type: "bigint", default: 0 },
    accountChanges: { type: "bigint", name: "account_changes", default: 0 },
    lastTime: { type: "timestamptz", name: "last_time" },
  },
  checks: [
    { name: "journal_head_one_row", expression: "id = 1" },
    { name: "journal_head_size", expression: "size >= 0" },
  ],
});

/** The records that one database transaction appended: `recordIds[i]` has the index `firstIndex + i`. */
export interface JournalBatchRow {
  readonly firstIndex: bigint;
  readonly recordIds: readonly string[];
  readonly recordTypes: readonly RecordType[];
  readonly createTime: Date;
}

export const JournalBatchEntity = new EntitySchema<JournalBatchRow>({
  name: "JournalBatch",
  tableName: "journal_batches",
  columns: {
    firstIndex: {
      type: "bigint",
      primary: true,
      name: "first_index",
      primaryKeyConstraintName: "journal_batches_pkey",
    },
    recordIds: { type: "uuid", array: true, name: "record_ids" },
    recordTypes: { type: "smallint", array: true, name: "record_types" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
  checks: [
    { name: "journal_batches_same_length", expression: "cardinality(record_ids) = cardinality(record_types)" },
    { name: "journal_batches_not_empty", expression: "cardinality(record_ids) > 0" },
  ],
});
