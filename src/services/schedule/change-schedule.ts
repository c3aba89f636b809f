import type { PauseScheduleRequest } from "../../../generated/grey/schedule/v1/schedule.js";
import { fail, type Failure } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import type { Session } from "../../db/in-transaction.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { SCHEDULE_STATE } from "../../entities/schedule.js";
import type { JournalRecord } from "../../journal/append.js";
import { lockSchedules, updateSchedules } from "../../ledger/schedule/store.js";
import { applyCancel, applyPause, applyResume } from "../../ledger/schedule/rules.js";
import type { ScheduleProgress, Schedule } from "../../ledger/schedule/schedule.js";
import { skipRun, toEndRecords, withholdRun } from "../../ledger/schedule/runs.js";
import { toScheduleMessage } from "./schedule-message.js";

/** A change that a caller may make to a schedule that has not ended. */
interface Change {
  readonly record: RecordType;
  /** Returns the rule that forbids the change. */
  readonly check: (schedule: Schedule) => Failure | undefined;
  readonly apply: (schedule: Schedule, now: Micros) => ScheduleProgress;
}

export const PAUSE: Change = {
  record: RECORD_TYPE.SCHEDULE_PAUSED,
  check: ({ id, state }) =>
    state === SCHEDULE_STATE.PAUSED ? { reason: "SCHEDULE_NOT_ACTIVE", scheduleId: id } : undefined,
  apply: applyPause,
};
export const RESUME: Change = {
  record: RECORD_TYPE.SCHEDULE_RESUMED,
  check: ({ id, state }) =>
    state === SCHEDULE_STATE.PAUSED ? undefined : { reason: "SCHEDULE_NOT_PAUSED", scheduleId: id },
  apply: applyResume,
};
export const CANCEL: Change = {
  record: RECORD_TYPE.SCHEDULE_CANCELLED,
  check: () => undefined,
  apply: applyCancel,
};

/** Changes a schedule with its row locked and, while it is active, with its next attempt withheld. */
export async function changeSchedule(
  { client }: Session,
  request: PauseScheduleRequest,
  { record, check, apply }: Change,
) {
  const id = parseId(request.scheduleId);
  const [locked] = await lockSchedules(client, [id]);
  const before = locked ?? fail({ reason: "SCHEDULE_NOT_FOUND", scheduleId: id });
  assertAllowed(before, check);
  const schedule = before.state === SCHEDULE_STATE.ACTIVE ? await withholdRun(client, before) : before;
  // A run that was under way may have ended it.
  assertAllowed(schedule, check);
  const now = await readClock(client);
  const progress = apply(schedule, now);
  await updateSchedules(client, [{ id, progress }], now);
  const skipped: JournalRecord[] =
    progress.state === SCHEDULE_STATE.CANCELLED && schedule.tries > 0 ? await skipRun(client, id, now) : [];
  return {
    response: { schedule: toScheduleMessage({ ...schedule, ...progress, updateTime: now }), replayed: false },
    resourceId: id,
    records: [...skipped, { id, type: record }, ...toEndRecords(id, progress)],
  };
}

function assertAllowed(schedule: Schedule, check: Change["check"]): void {
  const { id, state } = schedule;
  if (state !== SCHEDULE_STATE.ACTIVE && state !== SCHEDULE_STATE.PAUSED)
    fail({ reason: "SCHEDULE_ENDED", scheduleId: id, scheduleState: STATE_NAMES[state] });
  const failure = check(schedule);
  if (failure !== undefined) fail(failure);
}

const STATE_NAMES = {
  [SCHEDULE_STATE.COMPLETED]: "COMPLETED",
  [SCHEDULE_STATE.CANCELLED]: "CANCELLED",
  [SCHEDULE_STATE.FAILED]: "FAILED",
} as const;
