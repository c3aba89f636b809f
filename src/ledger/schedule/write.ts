import { TRANSACTION_KIND } from "../../base/codes.js";
import { assertPresent } from "../../base/assert.js";
import { encodeFailure } from "../../base/failure.js";
import { LEDGER_CALLER, newId, runRequestId, type Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { REQUEST_METHOD } from "../../entities/request.js";
import { RUN_STATE, SCHEDULE_STATE, type RunState } from "../../entities/schedule.js";
import { appendRecords, type JournalRecord } from "../../journal/append.js";
import { findAnswers } from "../transaction/rows.js";
import { lockSchedules } from "./rows.js";
import { afterAttempt } from "./rules.js";
import type { Progress, Schedule } from "./schedule.js";
import type { LedgerTransaction } from "../transaction/transaction.js";

/** The request id of the schedule's next attempt. */
export function toRequestId({ id, plannedTime, attempt }: Schedule): Uuid {
  return runRequestId(id, assertPresent(plannedTime, "the time of a run"), attempt);
}

/** Writes a new schedule. */
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
      isoOrNull(recurring?.startTime),
      isoOrNull(recurring?.endTime),
      schedule.maxRuns,
      schedule.onInsufficientFunds,
      schedule.retryIntervalMicros,
      schedule.retryMax,
      isoOrNull(schedule.plannedTime),
      isoOrNull(schedule.dueTime),
      schedule.attempt,
      schedule.tries,
      schedule.runCount,
      toIso(schedule.createTime),
      toIso(schedule.updateTime),
    ],
  });
}

/** Writes what became of schedules, which the transaction has locked. */
export async function writeProgress(
  client: Queryable,
  changes: readonly { readonly id: Uuid; readonly progress: Progress }[],
  now: Micros,
): Promise<void> {
  await client.query({
    name: "schedules-update",
    text: `UPDATE schedules s SET state = c.state, planned_time = c.planned_time, due_time = c.due_time, attempt = c.attempt,
        tries = c.tries, run_count = c.run_count, failure = c.failure, update_time = $9
      FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::text[])
        AS c (id, state, planned_time, due_time, attempt, tries, run_count, failure)
      WHERE s.id = c.id`,
    values: [
      changes.map(({ id }) => id),
      changes.map(({ progress }) => progress.state),
      changes.map(({ progress }) => isoOrNull(progress.plannedTime)),
      changes.map(({ progress }) => isoOrNull(progress.dueTime)),
      changes.map(({ progress }) => progress.attempt),
      changes.map(({ progress }) => progress.tries),
      changes.map(({ progress }) => progress.runCount),
      changes.map(({ progress: { failure } }) => (failure === null ? null : encodeFailure(failure))),
      toIso(now),
    ],
  });
}

/** An attempt that was made: the schedule as it was before, and the transaction. */
export interface AttemptedRun {
  readonly schedule: Schedule;
  readonly transaction: LedgerTransaction;
}

/**
 * Writes what came of attempts, once: whoever finds that another has written it leaves it be. Locks the schedules in the
 * order of their ids, then the journal's head.
 * @returns how many it has written
 */
export async function recordAttempts(client: Queryable, made: readonly AttemptedRun[]): Promise<number> {
  const ids = made.map(({ schedule }) => schedule.id);
  const current = new Map((await lockSchedules(client, ids)).map((schedule) => [schedule.id, schedule]));
  const now = await readClock(client);
  const done = made
    // Every change of a schedule counts its attempts on.
    .filter(({ schedule }) => current.get(schedule.id)?.attempt === schedule.attempt)
    .map(({ schedule, transaction }) => ({
      schedule,
      transaction,
      runId: newId(),
      ...afterAttempt(schedule, transaction.failure, now),
    }));
  if (done.length === 0) return 0;
  const { rows } = await client.query<{ id: Uuid; schedule_id: Uuid }>({
    name: "schedule-runs-write",
    text: `INSERT INTO schedule_runs (id, schedule_id, planned_time, state, attempts, request_id, transaction_id, failure, create_time,
        update_time)
      SELECT r.*, $9::timestamptz, $9::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::smallint[], $5::int[], $6::uuid[], $7::uuid[],
        $8::text[]) AS r
      ON CONFLICT (schedule_id, planned_time) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,
        request_id = excluded.request_id, transaction_id = excluded.transaction_id, failure = excluded.failure,
        update_time = excluded.update_time
      RETURNING id, schedule_id`,
    values: [
      done.map(({ runId }) => runId),
      done.map(({ schedule }) => schedule.id),
      done.map(({ schedule }) => isoOrNull(schedule.plannedTime)),
      done.map(({ run }) => run),
      done.map(({ schedule }) => schedule.tries + 1),
      done.map(({ schedule }) => toRequestId(schedule)),
      done.map(({ transaction }) => transaction.id),
      done.map(({ transaction: { failure } }) => (failure === null ? null : encodeFailure(failure))),
      toIso(now),
    ],
  });
  await writeProgress(
    client,
    done.map(({ schedule, progress }) => ({ id: schedule.id, progress })),
    now,
  );
  const runIds = new Map(rows.map((row) => [row.schedule_id, row.id]));
  await appendRecords(
    client,
    done.flatMap(({ schedule: { id }, run, progress }) => [
      { id: assertPresent(runIds.get(id), "a run"), type: RECORD_OF_RUN[run] },
      ...toEndRecords(id, progress),
    ]),
  );
  return done.length;
}

const RECORD_OF_RUN: Readonly<Record<RunState, RecordType>> = {
  [RUN_STATE.POSTED]: RECORD_TYPE.RUN_POSTED,
  [RUN_STATE.RETRYING]: RECORD_TYPE.RUN_RETRIED,
  [RUN_STATE.SKIPPED]: RECORD_TYPE.RUN_SKIPPED,
  [RUN_STATE.FAILED]: RECORD_TYPE.RUN_FAILED,
};

/** The record of a schedule that has come to its end by itself. */
export function toEndRecords(id: Uuid, { state }: Progress): JournalRecord[] {
  if (state === SCHEDULE_STATE.COMPLETED) return [{ id, type: RECORD_TYPE.SCHEDULE_COMPLETED }];
  return state === SCHEDULE_STATE.FAILED ? [{ id, type: RECORD_TYPE.SCHEDULE_FAILED }] : [];
}

/**
 * Sees to it that an active schedule, which the transaction has locked, makes no attempt any more until it is changed: takes
 * the request id of the next one, which then cannot be posted by anybody. When it was posted already, records it.
 * @returns the schedule as it then is
 */
export async function withholdRun(client: Queryable, schedule: Schedule): Promise<Schedule> {
  const key = { caller: LEDGER_CALLER, requestId: toRequestId(schedule) };
  // Waits for a posting that is under way with it.
  const { rowCount } = await client.query(
    "INSERT INTO requests (caller, request_id, method, resource_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    [key.caller, key.requestId, REQUEST_METHOD.WITHHOLD_RUN, schedule.id],
  );
  if (rowCount === 1) return schedule;
  const [transaction] = (await findAnswers(client, [key])).values();
  await recordAttempts(client, [{ schedule, transaction: assertPresent(transaction, "what was posted") }]);
  const [after] = await lockSchedules(client, [schedule.id]);
  return assertPresent(after, "a locked schedule");
}

/** Ends the run that was being retried, and appends its record; nothing when there is none. */
export async function skipRun(client: Queryable, scheduleId: Uuid, now: Micros): Promise<JournalRecord[]> {
  const { rows } = await client.query<{ id: Uuid }>({
    name: "schedule-run-skip",
    text: `UPDATE schedule_runs SET state = ${RUN_STATE.SKIPPED}, update_time = $2
      WHERE schedule_id = $1 AND state = ${RUN_STATE.RETRYING} RETURNING id`,
    values: [scheduleId, toIso(now)],
  });
  return rows.map(({ id }) => ({ id, type: RECORD_TYPE.RUN_SKIPPED }));
}

function isoOrNull(time: Micros | null | undefined): string | null {
  return time === null || time === undefined ? null : toIso(time);
}
