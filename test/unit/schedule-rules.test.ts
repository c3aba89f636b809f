import { findCronFault } from "../../src/ledger/schedule/cron.js";
import { expect } from "chai";
import * as fc from "fast-check";
import type { Failure } from "../../src/base/failure.js";
import { runRequestId } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import { FUNDS_POLICY, RUN_STATE, SCHEDULE_STATE, type FundsPolicy } from "../../src/entities/schedule.js";
import {
  applyAttempt,
  applyCancel,
  applyPause,
  applyResume,
  isTimeZone,
  findNextTime,
} from "../../src/ledger/schedule/rules.js";
import type { ScheduleProgress, RecurringTimes, Schedule, ScheduleTimes } from "../../src/ledger/schedule/schedule.js";
import { micros, recurring, createSchedule } from "../support/schedules.js";

const SHORT: Failure = {
  reason: "INSUFFICIENT_FUNDS",
  walletId: "w1",
  currencyCode: "USD",
  availableMinorUnits: 0n,
  requiredMinorUnits: 10n,
};
const FROZEN: Failure = { reason: "WALLET_FROZEN", walletId: "w1" };
const CLOSED: Failure = { reason: "WALLET_CLOSED", walletId: "w1" };

/** Lists the times after `after` and before `end`. */
function timesUntil(times: ScheduleTimes, after: Micros, end: Micros): string[] {
  const found: string[] = [];
  for (let next = findNextTime(times, after); next !== null && next < end; next = findNextTime(times, next)) {
    found.push(new Date(Number(next / 1_000n)).toISOString());
  }
  return found;
}

describe("the run times of a schedule", () => {
  const cases: readonly {
    title: string;
    times: RecurringTimes;
    after: string;
    end: string;
    expected: readonly string[];
  }[] = [
    {
      title: "are in the zone's local time, in summer and winter",
      times: recurring("0 9 * * *", "Europe/Berlin"),
      after: "2026-03-27T12:00:00Z",
      end: "2026-03-31T00:00:00Z",
      expected: ["2026-03-28T08:00:00.000Z", "2026-03-29T07:00:00.000Z", "2026-03-30T07:00:00.000Z"],
    },
    {
      title: "come right after the gap when a clock change skips them",
      times: recurring("30 2 * * *", "Europe/Berlin"),
      after: "2026-03-28T12:00:00Z",
      end: "2026-03-31T00:00:00Z",
      expected: ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"],
    },
    {
      title: "come once when a clock change repeats them",
      times: recurring("30 2 * * *", "Europe/Berlin"),
      after: "2026-10-24T12:00:00Z",
      end: "2026-10-27T00:00:00Z",
      expected: ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"],
    },
    {
      title: "continue through a repeated hour when they are every half hour",
      times: recurring("*/30 * * * *", "America/New_York"),
      after: "2026-11-01T05:00:00Z",
      end: "2026-11-01T07:00:00Z",
      expected: ["2026-11-01T05:30:00.000Z", "2026-11-01T06:00:00.000Z", "2026-11-01T06:30:00.000Z"],
    },
    {
      title: "match either the day of the month or the weekday when both are restricted",
      times: recurring("0 0 1 * MON"),
      after: "2026-05-31T00:00:00Z",
      end: "2026-06-09T00:00:00Z",
      expected: ["2026-06-01T00:00:00.000Z", "2026-06-08T00:00:00.000Z"],
    },
    {
      title: "skip months that lack the day",
      times: recurring("0 0 31 * *"),
      after: "2026-01-31T00:00:00Z",
      end: "2026-06-01T00:00:00Z",
      expected: ["2026-03-31T00:00:00.000Z", "2026-05-31T00:00:00.000Z"],
    },
    {
      title: "include the start and exclude the end",
      times: recurring("0 * * * *", "UTC", {
        startTime: micros("2026-01-01T03:00:00Z"),
        endTime: micros("2026-01-01T05:00:00Z"),
      }),
      after: "2025-01-01T00:00:00Z",
      end: "2027-01-01T00:00:00Z",
      expected: ["2026-01-01T03:00:00.000Z", "2026-01-01T04:00:00.000Z"],
    },
  ];
  for (const { title, times, after, end, expected } of cases) {
    it(title, () => expect(timesUntil(times, micros(after), micros(end))).to.deep.equal(expected));
  }

  it("are none for a day that does not exist", () => {
    expect(findNextTime(recurring("0 0 30 2 *"), micros("2026-01-01T00:00:00Z"))).to.equal(null);
  });

  it("are later than a given time, to the microsecond", () => {
    const at = micros("2026-01-01T03:00:00Z");
    const hourly = recurring("0 * * * *");
    expect(findNextTime(hourly, at - 1n)).to.equal(at);
    expect(findNextTime(hourly, at)).to.equal(at + 3_600_000_000n);
    expect(findNextTime({ ...hourly, startTime: at + 1n }, at - 1n)).to.equal(at + 3_600_000_000n);
    expect(findNextTime({ once: at }, at - 1n)).to.equal(at);
    expect(findNextTime({ once: at }, at)).to.equal(null);
  });

  /** Days around clock changes, and some without any. */
  const DAYS: readonly (readonly [timeZone: string, from: string])[] = [
    ["Europe/Berlin", "2026-03-28T00:00:00Z"],
    ["Europe/Berlin", "2026-10-24T00:00:00Z"],
    ["America/New_York", "2026-03-07T12:00:00Z"],
    ["America/New_York", "2026-10-31T12:00:00Z"],
    ["Australia/Lord_Howe", "2026-04-04T00:00:00Z"],
    ["Australia/Lord_Howe", "2026-10-03T00:00:00Z"],
    ["America/Sao_Paulo", "2018-11-03T00:00:00Z"],
    ["America/Sao_Paulo", "2018-02-17T00:00:00Z"],
    ["America/Nuuk", "2026-03-27T12:00:00Z"],
    ["America/Nuuk", "2026-10-23T12:00:00Z"],
    ["Asia/Kathmandu", "2026-02-27T00:00:00Z"],
    ["UTC", "2026-12-30T00:00:00Z"],
  ];
  const MINUTES = 3 * 24 * 60;

  it("equal those of a model that examines every minute, around clock changes", () => {
    const walls = DAYS.map(([timeZone, from]) => ({ timeZone, from, minutes: wallMinutes(timeZone, from, MINUTES) }));
    const numbers = (min: number, max: number) =>
      fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 3 }).map((list) => list.join(","));
    const minute = fc.oneof(fc.constantFrom("*", "*/15", "*/7", "10-50/20"), numbers(0, 59));
    const hour = fc.oneof(fc.constantFrom("*", "*/2", "0-3", "1-2"), numbers(0, 4), numbers(0, 23));
    const day = fc.oneof(fc.constant("*"), numbers(1, 31));
    const weekday = fc.oneof(fc.constant("*"), numbers(0, 6));
    fc.assert(
      fc.property(fc.constantFrom(...walls), minute, hour, day, weekday, (wall, m, h, d, w) => {
        const times = recurring(`${m} ${h} ${d} * ${w}`, wall.timeZone);
        const from = micros(wall.from);
        const end = from + BigInt(MINUTES) * 60_000_000n;
        expect(timesUntil(times, from - 1n, end)).to.deep.equal(modelTimes(wall.minutes, m, h, d, w));
      }),
      { numRuns: 400 },
    );
  });

  it("come once a day and once a year at every clock change of every time zone until 2040", function () {
    this.timeout(120_000);
    const changes = new Map<string, Change>();
    for (const timeZone of Intl.supportedValuesOf("timeZone"))
      for (const change of changesOf(timeZone)) changes.set(`${change.at} ${change.before} ${change.after}`, change);
    expect(changes.size).to.be.greaterThan(500);
    for (const { timeZone, at, before, after } of changes.values()) {
      const [low, high] = [at + Math.min(before, after), at + Math.max(before, after)];
      // The skipped or repeated time: its first minute, one in the middle, and its last.
      for (const local of [low, low + Math.floor((high - low) / 120_000) * 60_000, high - MINUTE_MS]) {
        const [time, day] = [new Date(local).toISOString(), new Date(local)];
        const timeOfDay = `${day.getUTCMinutes()} ${day.getUTCHours()}`;
        const expected = [-1, 0, 1].map((days) => toTime(local + days * DAY_MS, { at, before, after }));
        const from = BigInt(expected[0]! - MINUTE_MS) * 1_000n;
        const until = BigInt(expected[2]! + MINUTE_MS) * 1_000n;
        const daily = timesUntil(recurring(`${timeOfDay} * * *`, timeZone), from, until);
        expect(daily, `${timeZone}, daily as at ${time}`).to.deep.equal([...new Set(expected.map(isoOf))]);
        const rule = recurring(`${timeOfDay} ${day.getUTCDate()} ${day.getUTCMonth() + 1} *`, timeZone);
        const yearly = timesUntil(rule, from, from + 300n * DAY);
        expect(yearly, `${timeZone}, yearly as at ${time}`).to.deep.equal([isoOf(expected[1]!)]);
      }
    }
  });
});

const MINUTE_MS = 60_000;
const DAY_MS = 1_440 * MINUTE_MS;

/** A clock change, with the offsets from UTC before and after it; in ms. */
interface Change {
  readonly timeZone: string;
  readonly at: number;
  readonly before: number;
  readonly after: number;
}

function changesOf(timeZone: string): Change[] {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  const offsetAt = (time: number): number => {
    const [, sign, hours, minutes] = /GMT(?:([+-])(\d+):(\d+))?$/.exec(format.format(time))!;
    return hours === undefined ? 0 : (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * MINUTE_MS;
  };
  const found: Change[] = [];
  const end = Date.UTC(2041, 0, 1);
  for (let time = Date.UTC(2026, 0, 1); time < end; time += 7 * DAY_MS) {
    const [before, after] = [offsetAt(time), offsetAt(time + 7 * DAY_MS)];
    if (before === after) continue;
    let [last, first] = [time, time + 7 * DAY_MS];
    while (first - last > MINUTE_MS) {
      const middle = last + Math.floor((first - last) / 2 / MINUTE_MS) * MINUTE_MS;
      if (offsetAt(middle) === before) last = middle;
      else first = middle;
    }
    found.push({ timeZone, at: first, before, after });
  }
  return found;
}

/** Returns the first time that has this local time, or the clock change that skips it. */
function toTime(local: number, { at, before, after }: Omit<Change, "timeZone">): number {
  if (local - before < at) return local - before;
  return local - after >= at ? local - after : at;
}

function isoOf(time: number): string {
  return new Date(time).toISOString();
}

/** A minute in the local time of a zone. */
interface WallMinute {
  readonly iso: string;
  readonly date: string;
  readonly day: number;
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
}

function wallMinutes(timeZone: string, from: string, count: number): WallMinute[] {
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  return Array.from({ length: count }, (_, index) => {
    const time = new Date(Date.parse(from) + index * 60_000);
    const part = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
    const date = `${part.year}-${part.month}-${part.day}`;
    return {
      iso: time.toISOString(),
      date,
      day: Number(part.day),
      weekday: new Date(`${date}T00:00:00Z`).getUTCDay(),
      hour: Number(part.hour),
      minute: Number(part.minute),
    };
  });
}

/** Returns the model's run times: every matching minute; times of day once a day, right after the gap if they are skipped. */
function modelTimes(minutes: readonly WallMinute[], m: string, h: string, d: string, w: string): string[] {
  const [inMinute, inHour] = [setOf(m, 59), setOf(h, 23)];
  const isDay = ({ day, weekday }: WallMinute): boolean => {
    const [matchesDay, matchesWeekday] = [setOf(d, 31).has(day), setOf(w, 6).has(weekday)];
    return d === "*" || w === "*" ? matchesDay && matchesWeekday : matchesDay || matchesWeekday;
  };
  if (/[*/]/.test(m + h)) {
    return minutes
      .filter((one) => isDay(one) && inHour.has(one.hour) && inMinute.has(one.minute))
      .map(({ iso }) => iso);
  }
  const found = new Set<string>();
  const first = minutes[0]!;
  const dates = new Map(minutes.filter(isDay).map((one) => [one.date, one]));
  for (const date of dates.keys()) {
    for (const hour of inHour) {
      for (const minute of inMinute) {
        const timeOfDay = hour * 60 + minute;
        // Ignores times before the window.
        if (date === first.date && timeOfDay < first.hour * 60 + first.minute) continue;
        const match = minutes.find(
          (one) => one.date > date || (one.date === date && one.hour * 60 + one.minute >= timeOfDay),
        );
        const isExact = match?.date === date && match.hour * 60 + match.minute === timeOfDay;
        const isSkipped = match !== undefined && !isExact && isAfterGap(minutes, match, timeOfDay);
        if (isExact || isSkipped) found.add(match.iso);
      }
    }
  }
  return [...found].sort();
}

/** Returns whether a clock change skipped from before the time of day to this minute. */
function isAfterGap(minutes: readonly WallMinute[], match: WallMinute, timeOfDay: number): boolean {
  const before = minutes[minutes.indexOf(match) - 1];
  return before !== undefined && (before.date !== match.date || before.hour * 60 + before.minute < timeOfDay);
}

function setOf(field: string, max: number): Set<number> {
  return new Set(
    field.split(",").flatMap((part) => {
      const [range = "", step = "1"] = part.split("/");
      const [low = "", high = low] = range === "*" ? ["0", `${max}`] : range.split("-");
      const all: number[] = [];
      for (let value = Number(low); value <= Number(high); value += Number(step)) all.push(value);
      return all;
    }),
  );
}

describe("a schedule's input", () => {
  for (const cron of ["* * * * *", "0 9 1,15 * *", "*/10 8-18/2 * JAN-MAR MON-FRI", "0 0 * * 7"]) {
    it(`accepts the cron expression ${cron}`, () => expect(findCronFault(cron)).to.equal(undefined));
  }
  for (const cron of [
    "",
    "* * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 8",
    "5-1 * * * *",
    "*/0 * * * *",
    "- - - - -",
    ", , , , ,",
  ]) {
    it(`rejects the cron expression ${JSON.stringify(cron)}`, () =>
      expect(findCronFault(cron)).to.match(/such as "0 9 1 \* \*"/));
  }
  for (const [zone, isOne] of [
    ["Europe/Berlin", true],
    ["UTC", true],
    ["Asia/Kathmandu", true],
    ["Nowhere/City", false],
    ["constructor", false],
  ] as const) {
    it(`${isOne ? "accepts" : "rejects"} the time zone ${zone}`, () => expect(isTimeZone(zone)).to.equal(isOne));
  }
});

const NOON = micros("2026-06-01T12:00:00Z");
const DAY = 86_400_000_000n;

function daily(over: Partial<Schedule> = {}): Schedule {
  return createSchedule("a", "b", NOON, { times: recurring("0 12 * * *"), ...over });
}

describe("after an attempt", () => {
  it("that is posted, the next run is planned", () => {
    const { runState, progress } = applyAttempt(daily(), null, NOON + 5n);
    expect(runState).to.equal(RUN_STATE.POSTED);
    expect(progress).to.include({ plannedTime: NOON + DAY, dueTime: NOON + DAY, runCount: 1, tries: 0, attempt: 2 });
  });

  it("that is posted late, the missed run is next, not a later one", () => {
    const { progress } = applyAttempt(daily(), null, NOON + 10n * DAY);
    expect(progress).to.include({ plannedTime: NOON + DAY, dueTime: NOON + DAY });
  });

  for (const [title, over] of [
    ["a single run", { times: { once: NOON } }],
    ["the last of the maximum number of runs", { maxRuns: 7, runCount: 6 }],
    ["the last run before the end", { times: recurring("0 12 * * *", "UTC", { endTime: NOON + DAY }) }],
  ] as const) {
    it(`at ${title}, the schedule is completed, whether the run is posted or skipped`, () => {
      for (const failure of [null, SHORT]) {
        const { progress } = applyAttempt(daily(over), failure, NOON);
        expect(progress).to.include({ state: SCHEDULE_STATE.COMPLETED, plannedTime: null, dueTime: null, tries: 0 });
      }
    });
  }

  for (const failure of [SHORT, FROZEN]) {
    const policies: readonly (readonly [FundsPolicy, number, string])[] = [
      [FUNDS_POLICY.SKIP, RUN_STATE.SKIPPED, "skips the run and plans the next"],
      [FUNDS_POLICY.FAIL, RUN_STATE.FAILED, "fails the schedule"],
      [FUNDS_POLICY.RETRY, RUN_STATE.RETRYING, "retries the run after the interval"],
    ];
    for (const [onInsufficientFunds, state, title] of policies) {
      it(`rejected with ${failure.reason}, the policy ${title}`, () => {
        const { runState, progress } = applyAttempt(daily({ onInsufficientFunds }), failure, NOON + 7n);
        expect(runState).to.equal(state);
        if (state === RUN_STATE.SKIPPED) expect(progress).to.include({ plannedTime: NOON + DAY, runCount: 1 });
        if (state === RUN_STATE.FAILED)
          expect(progress).to.deep.include({ state: SCHEDULE_STATE.FAILED, plannedTime: null, failure, runCount: 1 });
        if (state === RUN_STATE.RETRYING) {
          const dueTime = NOON + 7n + 3_600_000_000n;
          expect(progress).to.include({ plannedTime: NOON, dueTime, tries: 1, runCount: 0, attempt: 2 });
        }
      });
    }
  }

  it("rejected for a permanent reason, the schedule fails, whatever the policy", () => {
    for (const onInsufficientFunds of Object.values(FUNDS_POLICY)) {
      const { runState, progress } = applyAttempt(daily({ onInsufficientFunds }), CLOSED, NOON);
      expect([runState, progress.state]).to.deep.equal([RUN_STATE.FAILED, SCHEDULE_STATE.FAILED]);
    }
  });

  it("in a time zone that this server does not know, the schedule fails, so that it does not block others", () => {
    const { runState, progress } = applyAttempt(daily({ times: recurring("0 12 * * *", "Nowhere/City") }), null, NOON);
    expect(runState).to.equal(RUN_STATE.POSTED);
    expect(progress).to.deep.include({
      state: SCHEDULE_STATE.FAILED,
      plannedTime: null,
      failure: { reason: "INTERNAL" },
    });
  });

  it("without a retry left, the run is skipped", () => {
    const { runState, progress } = applyAttempt(
      daily({ onInsufficientFunds: FUNDS_POLICY.RETRY, tries: 3 }),
      SHORT,
      NOON,
    );
    expect(runState).to.equal(RUN_STATE.SKIPPED);
    expect(progress).to.include({ plannedTime: NOON + DAY, tries: 0, runCount: 1 });
  });
});

describe("a paused schedule", () => {
  it("skips the runs that it missed when it is resumed", () => {
    const paused = { ...daily(), ...applyPause(daily()) };
    expect(paused.state).to.equal(SCHEDULE_STATE.PAUSED);
    expect(applyResume(paused, NOON - 1n)).to.include({ plannedTime: NOON, dueTime: NOON });
    expect(applyResume(paused, NOON)).to.include({ plannedTime: NOON + DAY, dueTime: NOON + DAY });
    expect(applyResume(paused, NOON + 3n * DAY + 1n)).to.include({ plannedTime: NOON + 4n * DAY });
  });

  it("with a single run makes it when it is resumed, even late", () => {
    const paused = { ...daily({ times: { once: NOON } }), state: SCHEDULE_STATE.PAUSED };
    expect(applyResume(paused, NOON + DAY)).to.include({ state: SCHEDULE_STATE.ACTIVE, dueTime: NOON });
  });

  it("retries at once when it is resumed during retries", () => {
    const paused = daily({ tries: 2, state: SCHEDULE_STATE.PAUSED });
    const now = NOON + 2n * DAY;
    expect(applyResume(paused, now)).to.include({ plannedTime: NOON, dueTime: now, tries: 2 });
  });

  it("is completed when it is resumed after its end", () => {
    const times = recurring("0 12 * * *", "UTC", { endTime: NOON + 2n * DAY });
    const resumed = applyResume(daily({ times, state: SCHEDULE_STATE.PAUSED }), NOON + 3n * DAY);
    expect(resumed).to.include({ state: SCHEDULE_STATE.COMPLETED, plannedTime: null, dueTime: null });
  });
});

describe("a schedule", () => {
  it("plans runs in ascending order, ends each once, and never reuses a request id, whatever happens", () => {
    const event = fc.constantFrom("post", "short", "pause-resume", "late");
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 40 }),
        fc.constantFrom(...Object.values(FUNDS_POLICY)),
        fc.integer({ min: 0, max: 3 }),
        fc.option(fc.integer({ min: 1, max: 10 })),
        (events, onInsufficientFunds, retryMax, maxRuns) => {
          let schedule = daily({ onInsufficientFunds, retryMax, maxRuns });
          let now = NOON;
          const used = new Set<string>();
          const ended: Micros[] = [];
          const advance = (progress: ScheduleProgress): void => {
            schedule = { ...schedule, ...progress };
          };
          for (const one of events) {
            if (schedule.state !== SCHEDULE_STATE.ACTIVE) break;
            const plannedTime = schedule.plannedTime!;
            const id = runRequestId(schedule.id, plannedTime, schedule.attempt);
            expect(used.has(id)).to.equal(false);
            used.add(id);
            if (one === "late") now += 3n * DAY;
            if (one === "pause-resume") {
              advance(applyPause(schedule));
              advance(applyResume(schedule, now));
              continue;
            }
            now = now > schedule.dueTime! ? now : schedule.dueTime!;
            const { runState, progress } = applyAttempt(schedule, one === "short" ? SHORT : null, now);
            advance(progress);
            if (runState === RUN_STATE.RETRYING) expect(schedule.tries).to.be.at.most(retryMax);
            else ended.push(plannedTime);
            expect(schedule.runCount).to.equal(ended.length);
          }
          expect(ended).to.deep.equal([...new Set(ended)].sort((a, b) => (a < b ? -1 : 1)));
          if (maxRuns !== null) expect(ended.length).to.be.at.most(maxRuns);
          const isOver = schedule.state > SCHEDULE_STATE.PAUSED;
          expect([schedule.plannedTime === null, schedule.dueTime === null]).to.deep.equal([isOver, isOver]);
        },
      ),
    );
  });

  it("plans nothing after it is cancelled, and counts a run that was being retried", () => {
    expect(applyCancel(daily())).to.include({ state: SCHEDULE_STATE.CANCELLED, plannedTime: null, runCount: 0 });
    expect(applyCancel(daily({ tries: 1, runCount: 4 }))).to.include({ runCount: 5, tries: 0, dueTime: null });
  });
});
