import { assertPresent } from "../../base/assert.js";
import { decodeFailure, encodeFailure } from "../../base/failure.js";
import { LEDGER_CALLER, newId, runRequestId, type Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { REQUEST_METHOD } from "../../entities/request.js";
import { RUN_STATE, SCHEDULE_STATE, type RunState } from "../../entities/schedule.js";
import { appendRecords, type JournalRecord } from "../../journal/append.js";
import { findAnswers } from "../transaction/store.js";
import type { LedgerTransaction } from "../transaction/transaction.js";
import { lockSchedules, selectMicros, toIsoOrNull, updateSchedules } from "./store.js";
import { applyAttempt } from "./rules.js";
import type { Schedule, ScheduleProgress, ScheduleRun } from "./schedule.js";

/** Returns the request id of the schedule's next attempt. */
export function toRequestId({ id, plannedTime, attempt }: Schedule): Uuid {
  return runRequestId(id, assertPresent(plannedTime, "the time of a run"), attempt);
}

/** An attempt: the schedule before it, and its transaction. */
export interface RunAttempt {
  readonly schedule: Schedule;
  readonly transaction: LedgerTransaction;
}

/**
 * Records attempts and the progress of their schedules; skips those that are recorded already. Locks the schedules in the order of their
 * ids, then the journal's head.
 * @returns the number of attempts recorded
 */
export async function recordAttempts(client: Queryable, attempts: readonly RunAttempt[]): Promise<number> {
  const ids = attempts.map(({ schedule }) => schedule.id);
  const current = new Map((await lockSchedules(client, ids)).map((schedule) => [schedule.id, schedule]));
  const now = await readClock(client);
  const recorded = attempts
    // Every change of a schedule increments its attempt number.
    .filter(({ schedule }) => current.get(schedule.id)?.attempt === schedule.attempt)
    .map(({ schedule, transaction }) => ({
      schedule,
      transaction,
      runId: newId(),
      ...applyAttempt(schedule, transaction.failure, now),
    }));
  if (recorded.length === 0) return 0;
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
      recorded.map(({ runId }) => runId),
      recorded.map(({ schedule }) => schedule.id),
      recorded.map(({ schedule }) => toIsoOrNull(schedule.plannedTime)),
      recorded.map(({ runState }) => runState),
      recorded.map(({ schedule }) => schedule.tries + 1),
      recorded.map(({ schedule }) => toRequestId(schedule)),
      recorded.map(({ transaction }) => transaction.id),
      recorded.map(({ transaction: { failure } }) => (failure === null ? null : encodeFailure(failure))),
      toIso(now),
    ],
  });
  await updateSchedules(
    client,
    recorded.map(({ schedule, progress }) => ({ id: schedule.id, progress })),
    now,
  );
  const runIds = new Map(rows.map((row) => [row.schedule_id, row.id]));
  await appendRecords(
    client,
    recorded.flatMap(({ schedule: { id }, runState, progress }) => [
      { id: assertPresent(runIds.get(id), "a run"), type: RUN_RECORD_TYPE[runState] },
      ...toEndRecords(id, progress),
    ]),
  );
  return recorded.length;
}

const RUN_RECORD_TYPE: Readonly<Record<RunState, RecordType>> = {
  [RUN_STATE.POSTED]: RECORD_TYPE.RUN_POSTED,
  [RUN_STATE.RETRYING]: RECORD_TYPE.RUN_RETRIED,
  [RUN_STATE.SKIPPED]: RECORD_TYPE.RUN_SKIPPED,
  [RUN_STATE.FAILED]: RECORD_TYPE.RUN_FAILED,
};

/** Returns the journal record of a schedule's completion or failure. */
export function toEndRecords(id: Uuid, { state }: ScheduleProgress): JournalRecord[] {
  if (state === SCHEDULE_STATE.COMPLETED) return [{ id, type: RECORD_TYPE.SCHEDULE_COMPLETED }];
  return state === SCHEDULE_STATE.FAILED ? [{ id, type: RECORD_TYPE.SCHEDULE_FAILED }] : [];
}

/**
 * Prevents the next attempt of an active schedule, which the database transaction has locked, by claiming its request id. Records the
 * attempt when it was posted already.
 * @returns the schedule after it
 */
export async function withholdRun(client: Queryable, schedule: Schedule): Promise<Schedule> {
  const key = { caller: LEDGER_CALLER, requestId: toRequestId(schedule) };
  // Waits for a posting in progress that has the same request id.
  const { rowCount } = await client.query(
    "INSERT INTO requests (caller, request_id, method, resource_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    [key.caller, key.requestId, REQUEST_METHOD.WITHHOLD_RUN, schedule.id],
  );
  if (rowCount === 1) return schedule;
  const [transaction] = (await findAnswers(client, [key])).values();
  await recordAttempts(client, [
    { schedule, transaction: assertPresent(transaction, "the transaction of an attempt") },
  ]);
  const [after] = await lockSchedules(client, [schedule.id]);
  return assertPresent(after, "a locked schedule");
}

/** Skips the run that is being retried, if any. @returns its journal record */
export async function skipRun(client: Queryable, scheduleId: Uuid, now: Micros): Promise<JournalRecord[]> {
  const { rows } = await client.query<{ id: Uuid }>({
    name: "schedule-run-skip",
    text: `UPDATE schedule_runs SET state = ${RUN_STATE.SKIPPED}, update_time = $2
      WHERE schedule_id = $1 AND state = ${RUN_STATE.RETRYING} RETURNING id`,
    values: [scheduleId, toIso(now)],
  });
  return rows.map(({ id }) => ({ id, type: RECORD_TYPE.RUN_SKIPPED }));
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
 * Lists the runs of a schedule, latest first.
 * @param before selects runs planned before this time; undefined for the first page
 */
export async function listRuns(
  client: Queryable,
  scheduleId: Uuid,
  { before, limit }: { before: Micros | undefined; limit: number },
): Promise<ScheduleRun[]> {
  const { rows } = await client.query<RunRow>({
    name: "schedule-runs-list",
    text: `SELECT id, ${selectMicros("planned_time")}, state, attempts, transaction_id, failure, ${selectMicros("create_time")},
        ${selectMicros("update_time")}
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
