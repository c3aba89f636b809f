/** The clock of a time zone. A time is in ms since 1970; a local time is the time at which a clock of UTC would read the same. */
export interface WallClock {
  /** Returns the zone's offset from UTC at a time, in ms. */
  getOffset(time: number): number;
  /** Returns the first time that has this local time; if a clock change skips it, the time right after the gap. */
  toTime(local: number): number;
  /** Returns the first time after `after`, up to and including `until`, at which the offset changes. */
  findOffsetChange(after: number, until: number): number | undefined;
}

const DAY_MS = 86_400_000;

/** The clocks in use: no more than there are time zones. */
const clocks = new Map<string, WallClock>();

export function getWallClock(timeZone: string): WallClock {
  let clock = clocks.get(timeZone);
  if (clock === undefined) {
    clock = createWallClock(timeZone);
    clocks.set(timeZone, clock);
  }
  return clock;
}

function createWallClock(timeZone: string): WallClock {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });

  function getOffset(time: number): number {
    // For example 3/29/2026, 01:59:59.
    const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = (
      format.format(time).match(/\d+/g) ?? []
    ).map(Number);
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(time / 1_000) * 1_000;
  }

  /** Returns the time of the only change of the offset between two times. */
  function bisectOffsetChange(from: number, until: number): number {
    const before = getOffset(from);
    let [last, first] = [from, until];
    while (first - last > 1) {
      const middle = Math.floor((last + first) / 2);
      if (getOffset(middle) === before) last = middle;
      else first = middle;
    }
    return first;
  }

  return {
    getOffset,
    toTime: (local) => {
      // Offsets are less than a day, and none changes twice within two days.
      const [before, after] = [getOffset(local - DAY_MS), getOffset(local + DAY_MS)];
      const times = [local - before, local - after].toSorted((a, b) => a - b);
      return (
        times.find((time) => time + getOffset(time) === local) ?? bisectOffsetChange(local - DAY_MS, local + DAY_MS)
      );
    },
    findOffsetChange: (after, until) => {
      for (let from = after; from < until; from += DAY_MS) {
        const to = Math.min(from + DAY_MS, until);
        if (getOffset(to) !== getOffset(from)) return bisectOffsetChange(from, to);
      }
      return undefined;
    },
  };
}
