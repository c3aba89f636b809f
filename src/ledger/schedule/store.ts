import { decodeFailure, encodeFailure } from "../../base/failure.js";
import { kindFromCode, TRANSACTION_KIND, type TransactionKindCode } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import { int2Array, uuidArray } from "../../db/binary-array.js";
import { CLOCK } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { SCHEDULE_STATE, type FundsPolicy, type ScheduleState } from "../../entities/schedule.js";
import type { Schedule, ScheduledMovement, ScheduleProgress } from "./schedule.js";

/** Returns the SQL that selects a time as microseconds since 1970. */
export function selectMicros(column: string): string {
  return `(extract(epoch FROM ${column}) * 1000000)::bigint AS ${column}`;
}

const COLUMNS = `
SELECT id, state, kind, debit_account_id, credit_account_id, system_account, currency_code, amount, is_up_to, description, metadata,
  ${selectMicros("once_time")}, cron, time_zone, ${selectMicros("start_time")}, ${selectMicros("end_time")}, max_runs, on_insufficient_funds,
  retry_interval_micros, retry_max, ${selectMicros("planned_time")}, ${selectMicros("due_time")}, attempt, tries, run_count, failure,
  ${selectMicros("create_time")}, ${selectMicros("update_time")}
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

/** Finds the active schedules whose next attempt is due, in the order of their times. */
export async function findDueSchedules(client: Queryable, limit: number): Promise<Schedule[]> {
  const { rows } = await client.query<Row>({
    name: "schedules-due",
    text: `${COLUMNS} WHERE state = ${SCHEDULE_STATE.ACTIVE}
      AND due_time <= ${CLOCK} ORDER BY schedules.due_time, id LIMIT $1`,
    values: [limit],
  });
  return rows.map(fromRow);
}

/** Reads a schedule without a lock; undefined when there is none. */
export async function readSchedule(client: Queryable, id: Uuid): Promise<Schedule | undefined> {
  const { rows } = await client.query<Row>({
    name: "schedule-read",
    text: `${COLUMNS} WHERE id = $1`,
    values: [id],
  });
  return rows.map(fromRow)[0];
}

/** Reads and locks the schedules that exist, in the order of their ids, until the database transaction ends. */
export async function lockSchedules(client: Queryable, ids: readonly Uuid[]): Promise<Schedule[]> {
  const { rows } = await client.query<Row>({
    name: "schedules-lock",
    text: `${COLUMNS} WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`,
    values: [uuidArray(ids)],
  });
  return rows.map(fromRow);
}

/**
 * Lists the schedules of a wallet, or all, newest first.
 * @param states the states to select; empty for all
 * @param below selects ids below this one; undefined for the first page
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

/** Inserts a schedule. */
export async function insertSchedule(client: Queryable, schedule: Schedule): Promise<void> {
  const { movement, times } = schedule;
  const recurring = "once" in times ? undefined : times;
  await client.query({
    name: "schedule-insert",
    text: `INSERT INTO schedules (id, state, kind, debit_account_id, credit_account_id, system_account, currency_code, amount,
        is_up_to, description, metadata, once_time, cron, time_zone, start_time, end_time, max_runs, on_insufficient_funds,
        retry_interval_micros, retry_max, planned_time, due_time, attempt, tries, run_count, create_time, update_time)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
        $26, $27)`,
    values: [
      schedule.id,
      schedule.state,
      TRANSACTION_KIND[movement.kind],
      movement.debitAccountId,
      movement.creditAccountId,
      movement.system?.name ?? null,
      movement.currencyCode,
      movement.amountMinor,
      movement.isUpTo,
      movement.description,
      movement.metadata,
      "once" in times ? toIso(times.once) : null,
      recurring?.cron ?? null,
      recurring?.timeZone ?? null,
      toIsoOrNull(recurring?.startTime),
      toIsoOrNull(recurring?.endTime),
      schedule.maxRuns,
      schedule.onInsufficientFunds,
      schedule.retryIntervalMicros,
      schedule.retryMax,
      toIsoOrNull(schedule.plannedTime),
      toIsoOrNull(schedule.dueTime),
      schedule.attempt,
      schedule.tries,
      schedule.runCount,
      toIso(schedule.createTime),
      toIso(schedule.updateTime),
    ],
  });
}

/** Updates the progress of schedules, which the database transaction has locked. */
export async function updateSchedules(
  client: Queryable,
  changes: readonly { readonly id: Uuid; readonly progress: ScheduleProgress }[],
  now: Micros,
): Promise<void> {
  await client.query({
    name: "schedules-update",
    text: `UPDATE schedules s SET state = c.state, planned_time = c.planned_time, due_time = c.due_time, attempt = c.attempt,
        tries = c.tries, run_count = c.run_count, failure = c.failure, update_time = $9
      FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::text[])
        AS c (id, state, planned_time, due_time, attempt, tries, run_count, failure)
      WHERE s.id = c.id AND s.id = ANY ($1::uuid[])`,
    values: [
      changes.map(({ id }) => id),
      changes.map(({ progress }) => progress.state),
      changes.map(({ progress }) => toIsoOrNull(progress.plannedTime)),
      changes.map(({ progress }) => toIsoOrNull(progress.dueTime)),
      changes.map(({ progress }) => progress.attempt),
      changes.map(({ progress }) => progress.tries),
      changes.map(({ progress }) => progress.runCount),
      changes.map(({ progress: { failure } }) => (failure === null ? null : encodeFailure(failure))),
      toIso(now),
    ],
  });
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

export function toIsoOrNull(time: Micros | null | undefined): string | null {
  return time === null || time === undefined ? null : toIso(time);
}
