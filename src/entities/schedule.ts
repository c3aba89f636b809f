import { EntitySchema } from "typeorm";

/** The states of a schedule, numbered as grey.schedule.v1.ScheduleState. */
export const SCHEDULE_STATE = { ACTIVE: 1, PAUSED: 2, COMPLETED: 3, CANCELLED: 4, FAILED: 5 } as const;
export type ScheduleState = (typeof SCHEDULE_STATE)[keyof typeof SCHEDULE_STATE];

/** The states of a run, numbered as grey.schedule.v1.RunState. */
export const RUN_STATE = { POSTED: 1, RETRYING: 2, SKIPPED: 3, FAILED: 4 } as const;
export type RunState = (typeof RUN_STATE)[keyof typeof RUN_STATE];

/** The policies for runs that might succeed later, numbered as grey.schedule.v1.InsufficientFundsPolicy. */
export const FUNDS_POLICY = { SKIP: 1, RETRY: 2, FAIL: 3 } as const;
export type FundsPolicy = (typeof FUNDS_POLICY)[keyof typeof FUNDS_POLICY];

/** A movement and the times at which it is made. */
export interface ScheduleRow {
  readonly id: string;
  readonly state: ScheduleState;
  /** The kind of its transactions: a deposit, a withdrawal or a transfer. */
  readonly kind: number;
  readonly debitAccountId: string;
  readonly creditAccountId: string;
  /** The name of the system account, if one of the two is; null for a transfer. */
  readonly systemAccount: string | null;
  readonly currencyCode: string;
  readonly amount: bigint;
  readonly isUpTo: boolean;
  readonly description: string;
  readonly metadata: Record<string, string>;
  /** The single time, or the rule in the next five columns. */
  readonly onceTime: Date | null;
  readonly cron: string | null;
  readonly timeZone: string | null;
  readonly startTime: Date | null;
  readonly endTime: Date | null;
  /** null for no limit. */
  readonly maxRuns: number | null;
  readonly onInsufficientFunds: FundsPolicy;
  readonly retryIntervalMicros: bigint;
  readonly retryMax: number;
  /** The time of the next run, or of the one that is retried; null once the schedule has ended. */
  readonly plannedTime: Date | null;
  /** The time of the next attempt at that run, unless the schedule is paused. */
  readonly dueTime: Date | null;
  /** Counts attempts and interruptions of the schedule: part of the request id of the next attempt. */
  readonly attempt: number;
  /** The number of attempts at the next run so far. */
  readonly tries: number;
  /** The number of runs that have ended. */
  readonly runCount: number;
  /** The failure that ended it, as encodeFailure() writes it; null if it has not failed. */
  readonly failure: string | null;
  readonly createTime: Date;
  readonly updateTime: Date;
}

export const ScheduleEntity = new EntitySchema<ScheduleRow>({
  name: "Schedule",
  tableName: "schedules",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "schedules_pkey" },
    state: { type: "smallint" },
    kind: { type: "smallint" },
    debitAccountId: { type: "uuid", name: "debit_account_id" },
    creditAccountId: { type: "uuid", name: "credit_account_id" },
    systemAccount: { type: "varchar", length: 32, name: "system_account", nullable: true },
    currencyCode: { type: "varchar", length: 12, name: "currency_code" },
    amount: { type: "bigint" },
    isUpTo: { type: "boolean", name: "is_up_to" },
    description: { type: "varchar", length: 500 },
    metadata: { type: "jsonb" },
    onceTime: { type: "timestamptz", name: "once_time", nullable: true },
    cron: { type: "varchar", length: 200, nullable: true },
    timeZone: { type: "varchar", length: 64, name: "time_zone", nullable: true },
    startTime: { type: "timestamptz", name: "start_time", nullable: true },
    endTime: { type: "timestamptz", name: "end_time", nullable: true },
    maxRuns: { type: "integer", name: "max_runs", nullable: true },
    onInsufficientFunds: { type: "smallint", name: "on_insufficient_funds" },
    retryIntervalMicros: { type: "bigint", name: "retry_interval_micros" },
    retryMax: { type: "integer", name: "retry_max" },
    plannedTime: { type: "timestamptz", name: "planned_time", nullable: true },
    dueTime: { type: "timestamptz", name: "due_time", nullable: true },
    attempt: { type: "integer" },
    tries: { type: "integer" },
    runCount: { type: "integer", name: "run_count" },
    failure: { type: "text", nullable: true },
    createTime: { type: "timestamptz", name: "create_time" },
    updateTime: { type: "timestamptz", name: "update_time" },
  },
  indices: [
    { name: "schedules_due", columns: ["dueTime", "id"], where: "(state = 1)" },
    { name: "schedules_debit", columns: ["debitAccountId", "id"] },
    { name: "schedules_credit", columns: ["creditAccountId", "id"] },
  ],
  checks: [
    { name: "schedules_amount", expression: "amount > 0" },
    { name: "schedules_when", expression: "(once_time IS NULL) = (cron IS NOT NULL AND time_zone IS NOT NULL)" },
    { name: "schedules_open_is_due", expression: "(state <= 2) = (planned_time IS NOT NULL AND due_time IS NOT NULL)" },
    { name: "schedules_failed_has_failure", expression: "(state = 5) = (failure IS NOT NULL)" },
  ],
});

/** The outcome of a schedule at one of its times. */
export interface ScheduleRunRow {
  readonly id: string;
  readonly scheduleId: string;
  readonly plannedTime: Date;
  readonly state: RunState;
  readonly attempts: number;
  /** The request of the latest attempt, and its transaction, posted or rejected. */
  readonly requestId: string;
  readonly transactionId: string;
  /** The failure of the latest attempt, as encodeFailure() writes it; null if it was posted. */
  readonly failure: string | null;
  readonly createTime: Date;
  readonly updateTime: Date;
}

export const ScheduleRunEntity = new EntitySchema<ScheduleRunRow>({
  name: "ScheduleRun",
  tableName: "schedule_runs",
  columns: {
    id: { type: "uuid", primary: true, primaryKeyConstraintName: "schedule_runs_pkey" },
    scheduleId: { type: "uuid", name: "schedule_id" },
    plannedTime: { type: "timestamptz", name: "planned_time" },
    state: { type: "smallint" },
    attempts: { type: "integer" },
    requestId: { type: "uuid", name: "request_id" },
    transactionId: { type: "uuid", name: "transaction_id" },
    failure: { type: "text", nullable: true },
    createTime: { type: "timestamptz", name: "create_time" },
    updateTime: { type: "timestamptz", name: "update_time" },
  },
  uniques: [{ name: "schedule_runs_planned", columns: ["scheduleId", "plannedTime"] }],
  checks: [
    { name: "schedule_runs_attempts", expression: "attempts > 0" },
    { name: "schedule_runs_posted", expression: "(state = 1) = (failure IS NULL)" },
  ],
});
