import { EntitySchema } from "typeorm";

/** The usage of an account's velocity limit in one slice of time, a hundredth of its window. */
export interface VelocityUsageRow {
  readonly accountId: string;
  /** The limit's name. */
  readonly name: string;
  /** The slice's number: the time since 1970 divided by its length. */
  readonly slice: bigint;
  /** Minor units. */
  readonly amount: bigint;
  readonly count: bigint;
}

export const VelocityUsageEntity = new EntitySchema<VelocityUsageRow>({
  name: "VelocityUsage",
  tableName: "velocity_usage",
  columns: {
    accountId: { type: "uuid", primary: true, name: "account_id", primaryKeyConstraintName: "velocity_usage_pkey" },
    name: { type: "varchar", length: 32, primary: true, primaryKeyConstraintName: "velocity_usage_pkey" },
    slice: { type: "bigint", primary: true, primaryKeyConstraintName: "velocity_usage_pkey" },
    amount: { type: "bigint" },
    count: { type: "bigint" },
  },
  checks: [{ name: "velocity_usage_not_negative", expression: "amount >= 0 AND count >= 0" }],
});

/** A change of limits, which is never changed itself. */
export interface LimitChangeRow {
  /** A UUIDv7, which orders the changes of a subject. */
  readonly id: string;
  /** The account, or the id that stands for a currency's new wallets. */
  readonly subjectId: string;
  readonly caller: string;
  readonly reason: string;
  /** The limits after it, as encodeLimits() writes them. */
  readonly limits: string;
  readonly createTime: Date;
}

export const LimitChangeEntity = new EntitySchema<LimitChangeRow>({
  name: "LimitChange",
  tableName: "limit_changes",
  columns: {
    subjectId: { type: "uuid", primary: true, name: "subject_id", primaryKeyConstraintName: "limit_changes_pkey" },
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "limit_changes_pkey" },
    caller: { type: "uuid" },
    reason: { type: "varchar", length: 500 },
    limits: { type: "text" },
    createTime: { type: "timestamptz", name: "create_time" },
  },
});
