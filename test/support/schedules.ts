import { newId, type Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import { FUNDS_POLICY, SCHEDULE_STATE } from "../../src/entities/schedule.js";
import type { RecurringTimes, Schedule } from "../../src/ledger/schedule/schedule.js";

/** Converts an ISO time to microseconds since 1970. */
export function micros(iso: string): Micros {
  return BigInt(Date.parse(iso)) * 1_000n;
}

/** Returns recurring times without bounds. */
export function recurring(cron: string, timeZone = "UTC", over: Partial<RecurringTimes> = {}): RecurringTimes {
  return { cron, timeZone, startTime: null, endTime: null, ...over };
}

/** Returns an active schedule of a transfer whose next run is planned at a time; by default its only run. */
export function createSchedule(from: Uuid, to: Uuid, plannedTime: Micros, over: Partial<Schedule> = {}): Schedule {
  return {
    id: newId(),
    state: SCHEDULE_STATE.ACTIVE,
    movement: {
      kind: "TRANSFER",
      debitAccountId: from,
      creditAccountId: to,
      system: null,
      currencyCode: "USD",
      amountMinor: 10n,
      isUpTo: false,
      description: "rent",
      metadata: {},
    },
    times: { once: plannedTime },
    maxRuns: null,
    onInsufficientFunds: FUNDS_POLICY.SKIP,
    retryIntervalMicros: 3_600_000_000n,
    retryMax: 3,
    plannedTime,
    dueTime: plannedTime,
    attempt: 1,
    tries: 0,
    runCount: 0,
    failure: null,
    createTime: plannedTime,
    updateTime: plannedTime,
    ...over,
  };
}
