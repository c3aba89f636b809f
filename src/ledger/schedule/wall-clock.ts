/**
 * What the clocks of a time zone show. A time is in ms since 1970; what clocks show is the time at which those of UTC show
 * the same.
 */
export interface WallClock {
  /** How far the clocks are ahead of UTC at this time, in ms. */
  offsetAt(time: number): number;
  /** When the clocks show this first; where they leave it out, the moment right after the gap. */
  firstShowing(shown: number): number;
  /** The first moment later than `after`, and no later than `until`, from which on the clocks are ahead by another offset. */
  changeWithin(after: number, until: number): number | undefined;
}

const DAY_MS = 86_400_000;

/** Those that were asked for; there are no more than there are time zones. */
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

  function offsetAt(time: number): number {
    // Such as 3/29/2026, 01:59:59.
    const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = (
      format.format(time).match(/\d+/g) ?? []
    ).map(Number);
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(time / 1_000) * 1_000;
  }

  /** The first moment at which the offset is another than at `from`; one there is by `until`, and no more than one. */
  function changeBetween(from: number, until: number): number {
    const before = offsetAt(from);
    let [last, first] = [from, until];
    while (first - last > 1) {
      const middle = Math.floor((last + first) / 2);
      if (offsetAt(middle) === before) last = middle;
      else first = middle;
    }
    return first;
  }

  return {
    offsetAt,
    firstShowing: (shown) => {
      // No clock is a day ahead or behind, and none is changed twice within two days.
      const [before, after] = [offsetAt(shown - DAY_MS), offsetAt(shown + DAY_MS)];
      const times = [shown - before, shown - after].toSorted((a, b) => a - b);
      return times.find((time) => time + offsetAt(time) === shown) ?? changeBetween(shown - DAY_MS, shown + DAY_MS);
    },
    changeWithin: (after, until) => {
      for (let from = after; from < until; from += DAY_MS) {
        const to = Math.min(from + DAY_MS, until);
        if (offsetAt(to) !== offsetAt(from)) return changeBetween(from, to);
      }
      return undefined;
    },
  };
}
