import { Cron } from "croner";
import { assertPresent } from "../../base/assert.js";
import type { Failure, Reason } from "../../base/failure.js";
import type { Micros } from "../../base/time.js";
import { FUNDS_POLICY, RUN_STATE, SCHEDULE_STATE, type RunState } from "../../entities/schedule.js";
import type { RecurringTimes, Schedule, ScheduleProgress, ScheduleTimes } from "./schedule.js";
import { getWallClock } from "./wall-clock.js";

/** Returns the first run time after `after`; null when there is none. */
export function findNextTime(times: ScheduleTimes, after: Micros): Micros | null {
  if ("once" in times) return times.once > after ? times.once : null;
  const { startTime, endTime } = times;
  const from = startTime !== null && startTime > after ? startTime - 1n : after;
  // Run times are whole minutes, so that fractions of a millisecond may be dropped.
  const next = findNextMs(times, Number(from / 1_000n));
  const time = next === null ? null : BigInt(next) * 1_000n;
  return time === null || (endTime !== null && time >= endTime) ? null : time;
}

/**
 * Returns the first run time after `after`, in ms. A local time that a clock change skips runs right after the gap, and one that occurs twice
 * runs once: a run at 02:30 takes place once on each day. Where minutes or hours repeat within the day (`*` or `/`), runs follow local time.
 */
function findNextMs({ cron, timeZone }: RecurringTimes, after: number): number | null {
  const pattern = parseCron(cron);
  const clock = getWallClock(timeZone);
  const isRepeating = /[*?/]/.test(cron.trim().split(/\s+/).slice(0, 2).join());
  // The pattern works on local times.
  const findNextLocal = (local: number): number | null => pattern.nextRun(new Date(local))?.getTime() ?? null;
  if (!isRepeating) {
    for (let local = findNextLocal(after + clock.getOffset(after)); local !== null; local = findNextLocal(local)) {
      const time = clock.toTime(local);
      if (time > after) return time;
    }
    return null;
  }
  for (let from = after; ;) {
    const offset = clock.getOffset(from + 1);
    const local = findNextLocal(from + offset);
    if (local === null) return null;
    const change = clock.findOffsetChange(from + 1, local - offset);
    if (change === undefined) return local - offset;
    from = change - 1;
  }
}

/** Returns whether the time zone is known. */
export function isTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/** Parses the pattern; it takes local times as UTC. */
function parseCron(cron: string): Cron {
  return new Cron(cron, { timezone: "UTC", mode: "5-part" });
}

/** The outcome of an attempt: the state of its run, and the progress of its schedule. */
export interface AttemptOutcome {
  readonly runState: RunState;
  readonly progress: ScheduleProgress;
}

/**
 * Returns the outcome of an attempt at the next run.
 * @param failure the reason of its rejection; null when it was posted
 */
export function applyAttempt(schedule: Schedule, failure: Failure | null, now: Micros): AttemptOutcome {
  const { onInsufficientFunds, tries, retryMax, retryIntervalMicros } = schedule;
  if (failure === null) return { runState: RUN_STATE.POSTED, progress: endRun(schedule) };
  if (isPermanent(failure) || onInsufficientFunds === FUNDS_POLICY.FAIL) {
    const progress = { ...endRun(schedule), ...NO_NEXT_RUN, state: SCHEDULE_STATE.FAILED, failure };
    return { runState: RUN_STATE.FAILED, progress };
  }
  if (onInsufficientFunds !== FUNDS_POLICY.RETRY || tries >= retryMax) {
    return { runState: RUN_STATE.SKIPPED, progress: endRun(schedule) };
  }
  const progress = { ...pickProgress(schedule), dueTime: now + retryIntervalMicros, tries: tries + 1 };
  return { runState: RUN_STATE.RETRYING, progress: countAttempt(progress) };
}

/** Returns the progress of an active schedule after it is paused. */
export function applyPause(schedule: Schedule): ScheduleProgress {
  return countAttempt({ ...pickProgress(schedule), state: SCHEDULE_STATE.PAUSED });
}

/** Returns the progress of a paused schedule after it is resumed. */
export function applyResume(schedule: Schedule, now: Micros): ScheduleProgress {
  const { times, tries } = schedule;
  const plannedTime = assertPresent(schedule.plannedTime, "the time of a paused schedule");
  const active = { ...pickProgress(schedule), state: SCHEDULE_STATE.ACTIVE };
  if (tries > 0) return { ...active, dueTime: now };
  if ("once" in times || plannedTime > now) return { ...active, dueTime: plannedTime };
  const next = findNextTime(times, now);
  return next === null
    ? { ...active, ...NO_NEXT_RUN, state: SCHEDULE_STATE.COMPLETED }
    : { ...active, plannedTime: next, dueTime: next };
}

/** Returns the progress of a schedule after it is cancelled; a run that is being retried ends with it. */
export function applyCancel(schedule: Schedule): ScheduleProgress {
  const runCount = schedule.runCount + (schedule.tries > 0 ? 1 : 0);
  return countAttempt({ ...pickProgress(schedule), ...NO_NEXT_RUN, state: SCHEDULE_STATE.CANCELLED, runCount });
}

/** Returns whether the movement would be rejected at any later time too. */
export function isPermanent({ reason }: Failure): boolean {
  return PERMANENT_REASONS.includes(reason);
}

const PERMANENT_REASONS: readonly Reason[] = [
  "WALLET_CLOSED",
  "WALLET_NOT_FOUND",
  "ACCOUNT_NOT_FOUND",
  "CURRENCY_MISMATCH",
  "SAME_WALLET",
];

const NO_NEXT_RUN = { plannedTime: null, dueTime: null, tries: 0 } as const;

/** Returns the progress after the next run has ended, with the run after it planned, if any. */
function endRun(schedule: Schedule): ScheduleProgress {
  const { times, maxRuns } = schedule;
  const runCount = schedule.runCount + 1;
  const progress = countAttempt({ ...pickProgress(schedule), runCount, tries: 0 });
  if (maxRuns !== null && runCount >= maxRuns) return { ...progress, ...NO_NEXT_RUN, state: SCHEDULE_STATE.COMPLETED };
  // Another server knew the time zone, this one does not. Fails the schedule, so that it does not block others.
  if (!("once" in times) && !isTimeZone(times.timeZone))
    return { ...progress, ...NO_NEXT_RUN, state: SCHEDULE_STATE.FAILED, failure: { reason: "INTERNAL" } };
  const next = findNextTime(times, assertPresent(schedule.plannedTime, "the time of a run"));
  return next === null
    ? { ...progress, ...NO_NEXT_RUN, state: SCHEDULE_STATE.COMPLETED }
    : { ...progress, plannedTime: next, dueTime: next };
}

/** Increments the attempt number, after an attempt or in place of one. */
function countAttempt(progress: ScheduleProgress): ScheduleProgress {
  return { ...progress, attempt: progress.attempt + 1 };
}

function pickProgress(schedule: Schedule): ScheduleProgress {
  const { state, plannedTime, dueTime, attempt, tries, runCount, failure } = schedule;
  return { state, plannedTime, dueTime, attempt, tries, runCount, failure };
}
