import { decodeFailure } from "../../base/failure.js";
import { kindFromCode, type TransactionKindCode } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { toIso } from "../../base/time.js";
import { int2Array, uuidArray } from "../../db/binary-array.js";
import { CLOCK } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { SCHEDULE_STATE, type FundsPolicy, type RunState, type ScheduleState } from "../../entities/schedule.js";
import type { Schedule, ScheduledMovement, ScheduleRun } from "./schedule.js";

function micros(column: string): string {
  return `(extract(epoch FROM ${column}) * 1000000)::bigint AS ${column}`;
}

const COLUMNS = `
SELECT id, state, kind, debit_account_id, credit_account_id, system_account, currency_code, amount, is_up_to, description, metadata,
  ${micros("once_time")}, cron, time_zone, ${micros("start_time")}, ${micros("end_time")}, max_runs, on_insufficient_funds,
  retry_interval_micros, retry_max, ${micros("planned_time")}, ${micros("due_time")}, attempt, tries, run_count, failure,
  ${micros("create_time")}, ${micros("update_time")}
FROM schedules`;

interface Row {
  readonly id: Uuid;
  readonly state: ScheduleState;
  readonly kind: TransactionKindCode;
  readonly debit_account_id: Uuid;
  readonly credit_account_id: Uuid;
  readonly system_account: string | null;
  readonly currency_code: string;
  readonly amount: bigint;
  readonly is_up_to: boolean;
  readonly description: string;
  readonly metadata: Record<string, string>;
  readonly once_time: Micros | null;
  readonly cron: string | null;
  readonly time_zone: string | null;
  readonly start_time: Micros | null;
  readonly end_time: Micros | null;
  readonly max_runs: number | null;
  readonly on_insufficient_funds: FundsPolicy;
  readonly retry_interval_micros: bigint;
  readonly retry_max: number;
  readonly planned_time: Micros | null;
  readonly due_time: Micros | null;
  readonly attempt: number;
  readonly tries: number;
  readonly run_count: number;
  readonly failure: string | null;
  readonly create_time: Micros;
  readonly update_time: Micros;
}

/** The active schedules whose next attempt is due, in the order of their times. */
export async function findDueSchedules(client: Queryable, limit: number): Promise<Schedule[]> {
  const { rows } = await client.query<Row>({
    name: "schedules-due",
    text: `${COLUMNS} WHERE state = ${SCHEDULE_STATE.ACTIVE}
      AND due_time <= ${CLOCK} ORDER BY schedules.due_time, id LIMIT $1`,
    values: [limit],
  });
  return rows.map(fromRow);
}

/** The schedule as it is at the moment; undefined when there is none. */
export async function readSchedule(client: Queryable, id: Uuid): Promise<Schedule | undefined> {
  const { rows } = await client.query<Row>({
    name: "schedule-read",
    text: `${COLUMNS} WHERE id = $1`,
    values: [id],
  });
  return rows.map(fromRow)[0];
}

/** The schedules that exist of these, locked in the order of their ids for the rest of the transaction. */
export async function lockSchedules(client: Queryable, ids: readonly Uuid[]): Promise<Schedule[]> {
  const { rows } = await client.query<Row>({
    name: "schedules-lock",
    text: `${COLUMNS} WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`,
    values: [uuidArray(ids)],
  });
  return rows.map(fromRow);
}

/**
 * The schedules of a wallet, or all, newest first.
 * @param states only those in these; empty for all
 * @param below only those whose id is less; undefined for the first page
 */
export async function listSchedules(
  client: Queryable,
  accountId: Uuid | undefined,
  { states, below, limit }: { states: readonly ScheduleState[]; below: Uuid | undefined; limit: number },
): Promise<Schedule[]> {
  const { rows } = await client.query<Row>({
    name: accountId === undefined ? "schedules-list" : "schedules-list-wallet",
    text: `${COLUMNS} WHERE state = ANY($1::smallint[]) AND id < $2
      ${accountId === undefined ? "" : "AND (debit_account_id = $4 OR credit_account_id = $4)"} ORDER BY id DESC LIMIT $3`,
    values: [
      int2Array(states.length === 0 ? Object.values(SCHEDULE_STATE) : states),
      below ?? "ffffffff-ffff-ffff-ffff-ffffffffffff",
      limit,
      ...(accountId === undefined ? [] : [accountId]),
    ],
  });
  return rows.map(fromRow);
}

interface RunRow {
  readonly id: Uuid;
  readonly planned_time: Micros;
  readonly state: RunState;
  readonly attempts: number;
  readonly transaction_id: Uuid;
  readonly failure: string | null;
  readonly create_time: Micros;
  readonly update_time: Micros;
}

/**
 * The runs of a schedule, latest first.
 * @param before only those planned before; undefined for the first page
 */
export async function listRuns(
  client: Queryable,
  scheduleId: Uuid,
  { before, limit }: { before: Micros | undefined; limit: number },
): Promise<ScheduleRun[]> {
  const { rows } = await client.query<RunRow>({
    name: "schedule-runs-list",
    text: `SELECT id, ${micros("planned_time")}, state, attempts, transaction_id, failure, ${micros("create_time")},
        ${micros("update_time")}
      FROM schedule_runs WHERE schedule_id = $1 AND schedule_runs.planned_time < coalesce($2::timestamptz, 'infinity')
      ORDER BY schedule_runs.planned_time DESC LIMIT $3`,
    values: [scheduleId, before === undefined ? null : toIso(before), limit],
  });
  return rows.map((row) => ({
    id: row.id,
    plannedTime: row.planned_time,
    state: row.state,
    attempts: row.attempts,
    transactionId: row.transaction_id,
    failure: row.failure === null ? null : decodeFailure(row.failure),
    createTime: row.create_time,
    updateTime: row.update_time,
  }));
}

function fromRow(row: Row): Schedule {
  return {
    id: row.id,
    state: row.state,
    movement: toMovement(row),
    times:
      row.cron === null || row.time_zone === null
        ? { once: row.once_time ?? 0n }
        : { cron: row.cron, timeZone: row.time_zone, startTime: row.start_time, endTime: row.end_time },
    maxRuns: row.max_runs,
    onInsufficientFunds: row.on_insufficient_funds,
    retryIntervalMicros: row.retry_interval_micros,
    retryMax: row.retry_max,
    plannedTime: row.planned_time,
    dueTime: row.due_time,
    attempt: row.attempt,
    tries: row.tries,
    runCount: row.run_count,
    failure: row.failure === null ? null : decodeFailure(row.failure),
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}

function toMovement(row: Row): ScheduledMovement {
  const { debit_account_id: debitAccountId, credit_account_id: creditAccountId, system_account: name } = row;
  const kind = kindFromCode(row.kind) as ScheduledMovement["kind"];
  // A deposit debits the system account.
  const accountId = kind === "DEPOSIT" ? debitAccountId : creditAccountId;
  return {
    kind,
    debitAccountId,
    creditAccountId,
    system: name === null ? null : { name, accountId },
    currencyCode: row.currency_code,
    amountMinor: row.amount,
    isUpTo: row.is_up_to,
    description: row.description,
    metadata: row.metadata,
  };
}
