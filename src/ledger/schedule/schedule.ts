import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { FundsPolicy, RunState, ScheduleState } from "../../entities/schedule.js";
import type { CallerData, MovementCommand } from "../command/command.js";

/** The movement that each run of a schedule posts. */
export type ScheduledMovement = Pick<
  MovementCommand,
  "kind" | "debitAccountId" | "creditAccountId" | "system" | "currencyCode" | "amountMinor" | "isUpTo"
> &
  Pick<CallerData, "description" | "metadata">;

/** The times that match a cron expression in local time of a zone. */
export interface RecurringTimes {
  readonly cron: string;
  readonly timeZone: string;
  /** Inclusive; null for no start. */
  readonly startTime: Micros | null;
  /** Exclusive; null for no end. */
  readonly endTime: Micros | null;
}

/** The times of a schedule's runs. */
export type ScheduleTimes = { readonly once: Micros } | RecurringTimes;

/** The part of a schedule that changes as it runs. */
export interface ScheduleProgress {
  readonly state: ScheduleState;
  /** The time of the next run, or of the one that is being retried; null once the schedule has ended. */
  readonly plannedTime: Micros | null;
  /** The time of that run's next attempt, unless the schedule is paused. */
  readonly dueTime: Micros | null;
  /** The number of the next attempt, for its request id. Pauses and cancellations count too. */
  readonly attempt: number;
  /** The number of failed attempts at the next run. */
  readonly tries: number;
  /** The number of runs that have ended. */
  readonly runCount: number;
  /** The reason why the schedule failed; null unless it did. */
  readonly failure: Failure | null;
}

export interface Schedule extends ScheduleProgress {
  readonly id: Uuid;
  readonly movement: ScheduledMovement;
  readonly times: ScheduleTimes;
  /** null for no limit. */
  readonly maxRuns: number | null;
  readonly onInsufficientFunds: FundsPolicy;
  readonly retryIntervalMicros: bigint;
  readonly retryMax: number;
  readonly createTime: Micros;
  readonly updateTime: Micros;
}

/** A run of a schedule: its outcome at one planned time. */
export interface ScheduleRun {
  readonly id: Uuid;
  readonly plannedTime: Micros;
  readonly state: RunState;
  readonly attempts: number;
  /** The transaction of its latest attempt, posted or rejected. */
  readonly transactionId: Uuid;
  readonly failure: Failure | null;
  readonly createTime: Micros;
  readonly updateTime: Micros;
}
