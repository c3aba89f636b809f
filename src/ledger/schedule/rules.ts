import { Cron } from "croner";
import { assertPresent } from "../../base/assert.js";
import type { Failure, Reason } from "../../base/failure.js";
import type { Micros } from "../../base/time.js";
import { FUNDS_POLICY, RUN_STATE, SCHEDULE_STATE, type RunState } from "../../entities/schedule.js";
import type { Progress, Recurring, Schedule, ScheduleTimes } from "./schedule.js";
import { getWallClock } from "./wall-clock.js";

/** The first time later than `after`; null when there is none. */
export function nextTime(times: ScheduleTimes, after: Micros): Micros | null {
  if ("once" in times) return times.once > after ? times.once : null;
  const { startTime, endTime } = times;
  const from = startTime !== null && startTime > after ? startTime - 1n : after;
  // Times are whole minutes, so what is finer than a millisecond may be cut off.
  const next = findNextRun(times, Number(from / 1_000n));
  const time = next === null ? null : BigInt(next) * 1_000n;
  return time === null || (endTime !== null && time >= endTime) ? null : time;
}

/**
 * The first time later than `after`, in ms. A time of day that the clocks leave out comes right after the gap, one that they
 * show twice comes once: whoever is paid at 02:30 is paid each day, and once. Where minute or hour is no time of day but a
 * rhythm, it goes on as the clocks show it.
 */
function findNextRun({ cron, timeZone }: Recurring, after: number): number | null {
  const pattern = parseCron(cron);
  const clock = getWallClock(timeZone);
  const isRhythm = /[*?/]/.test(cron.trim().split(/\s+/).slice(0, 2).join());
  // The pattern is asked about what clocks show.
  const nextShown = (shown: number): number | null => pattern.nextRun(new Date(shown))?.getTime() ?? null;
  if (!isRhythm) {
    for (let shown = nextShown(after + clock.offsetAt(after)); shown !== null; shown = nextShown(shown)) {
      const time = clock.firstShowing(shown);
      if (time > after) return time;
    }
    return null;
  }
  for (let from = after; ;) {
    const offset = clock.offsetAt(from + 1);
    const shown = nextShown(from + offset);
    if (shown === null) return null;
    const change = clock.changeWithin(from + 1, shown - offset);
    if (change === undefined) return shown - offset;
    from = change - 1;
  }
}

/** Whether there is such a time zone. */
export function isTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

/** The pattern, of what clocks show as if they were those of UTC. */
function parseCron(cron: string): Cron {
  return new Cron(cron, { timezone: "UTC", mode: "5-part" });
}

/** What an attempt makes of a run and of its schedule. */
export interface Attempted {
  readonly run: RunState;
  readonly progress: Progress;
}

/**
 * What becomes of the run that is next once it was tried.
 * @param failure why it was refused; null when it was posted
 */
export function afterAttempt(schedule: Schedule, failure: Failure | null, now: Micros): Attempted {
  const { onInsufficientFunds, tries, retryMax, retryIntervalMicros } = schedule;
  if (failure === null) return { run: RUN_STATE.POSTED, progress: afterRun(schedule) };
  if (isLasting(failure) || onInsufficientFunds === FUNDS_POLICY.FAIL) {
    const progress = { ...afterRun(schedule), ...OVER, state: SCHEDULE_STATE.FAILED, failure };
    return { run: RUN_STATE.FAILED, progress };
  }
  if (onInsufficientFunds !== FUNDS_POLICY.RETRY || tries >= retryMax) {
    return { run: RUN_STATE.SKIPPED, progress: afterRun(schedule) };
  }
  const progress = { ...toProgress(schedule), dueTime: now + retryIntervalMicros, tries: tries + 1 };
  return { run: RUN_STATE.RETRYING, progress: interrupted(progress) };
}

/** What becomes of an active schedule that is paused. */
export function afterPause(schedule: Schedule): Progress {
  return interrupted({ ...toProgress(schedule), state: SCHEDULE_STATE.PAUSED });
}

/** What becomes of a paused schedule that is resumed. */
export function afterResume(schedule: Schedule, now: Micros): Progress {
  const { times, tries } = schedule;
  const plannedTime = assertPresent(schedule.plannedTime, "the time of a paused schedule");
  const active = { ...toProgress(schedule), state: SCHEDULE_STATE.ACTIVE };
  if (tries > 0) return { ...active, dueTime: now };
  if ("once" in times || plannedTime > now) return { ...active, dueTime: plannedTime };
  const next = nextTime(times, now);
  return next === null
    ? { ...active, ...OVER, state: SCHEDULE_STATE.COMPLETED }
    : { ...active, plannedTime: next, dueTime: next };
}

/** What becomes of a schedule that is cancelled; a run that was being retried has ended with it. */
export function afterCancel(schedule: Schedule): Progress {
  const runCount = schedule.runCount + (schedule.tries > 0 ? 1 : 0);
  return interrupted({ ...toProgress(schedule), ...OVER, state: SCHEDULE_STATE.CANCELLED, runCount });
}

/** Whether the movement would be refused at any other time too. */
export function isLasting({ reason }: Failure): boolean {
  return LASTING.includes(reason);
}

const LASTING: readonly Reason[] = [
  "WALLET_CLOSED",
  "WALLET_NOT_FOUND",
  "ACCOUNT_NOT_FOUND",
  "CURRENCY_MISMATCH",
  "SAME_WALLET",
];

const OVER = { plannedTime: null, dueTime: null, tries: 0 } as const;

/** The run has ended, and the one after it, if any, is next. */
function afterRun(schedule: Schedule): Progress {
  const { times, maxRuns } = schedule;
  const runCount = schedule.runCount + 1;
  const progress = interrupted({ ...toProgress(schedule), runCount, tries: 0 });
  if (maxRuns !== null && runCount >= maxRuns) return { ...progress, ...OVER, state: SCHEDULE_STATE.COMPLETED };
  // The clocks of another server knew it. Nobody else's runs are to wait for this one's.
  if (!("once" in times) && !isTimeZone(times.timeZone))
    return { ...progress, ...OVER, state: SCHEDULE_STATE.FAILED, failure: { reason: "INTERNAL" } };
  const next = nextTime(times, assertPresent(schedule.plannedTime, "the time of a run"));
  return next === null
    ? { ...progress, ...OVER, state: SCHEDULE_STATE.COMPLETED }
    : { ...progress, plannedTime: next, dueTime: next };
}

/** The attempt that was next is not made any more, or has been. */
function interrupted(progress: Progress): Progress {
  return { ...progress, attempt: progress.attempt + 1 };
}

function toProgress(schedule: Schedule): Progress {
  const { state, plannedTime, dueTime, attempt, tries, runCount, failure } = schedule;
  return { state, plannedTime, dueTime, attempt, tries, runCount, failure };
}
