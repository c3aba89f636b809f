import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { FundsPolicy, RunState, ScheduleState } from "../../entities/schedule.js";
import type { MovementCommand } from "../command/command.js";

/** What each run of a schedule moves. */
export type ScheduledMovement = Pick<
  MovementCommand,
  | "kind"
  | "debitAccountId"
  | "creditAccountId"
  | "system"
  | "currencyCode"
  | "amountMinor"
  | "isUpTo"
  | "description"
  | "metadata"
>;

/** The times at which clocks of a zone show what a cron expression says. */
export interface Recurring {
  readonly cron: string;
  readonly timeZone: string;
  /** No time before it; null for any. */
  readonly startTime: Micros | null;
  /** No time from it on; null for any. */
  readonly endTime: Micros | null;
}

/** When a schedule runs. */
export type ScheduleTimes = { readonly once: Micros } | Recurring;

/** What changes as a schedule goes on. */
export interface Progress {
  readonly state: ScheduleState;
  /** The time of the run that is next, or is being retried; null once the schedule has ended. */
  readonly plannedTime: Micros | null;
  /** When that run is to be tried, unless the schedule is paused. */
  readonly dueTime: Micros | null;
  /** Counts attempts and interruptions: each has a request id of its own. */
  readonly attempt: number;
  /** How often the run that is next was tried already. */
  readonly tries: number;
  /** How many runs have ended. */
  readonly runCount: number;
  /** Why it failed; null unless it did. */
  readonly failure: Failure | null;
}

export interface Schedule extends Progress {
  readonly id: Uuid;
  readonly movement: ScheduledMovement;
  readonly times: ScheduleTimes;
  /** null for any number. */
  readonly maxRuns: number | null;
  readonly onInsufficientFunds: FundsPolicy;
  readonly retryIntervalMicros: bigint;
  readonly retryMax: number;
  readonly createTime: Micros;
  readonly updateTime: Micros;
}

/** What a schedule came to at one of its times. */
export interface ScheduleRun {
  readonly id: Uuid;
  readonly plannedTime: Micros;
  readonly state: RunState;
  readonly attempts: number;
  /** Of its latest attempt, posted or rejected. */
  readonly transactionId: Uuid;
  readonly failure: Failure | null;
  readonly createTime: Micros;
  readonly updateTime: Micros;
}
