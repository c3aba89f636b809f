import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { timeText } from "../../runtime/time-text.js";
import type { Cell } from "./table.js";

/** Sets the time zone of this process to UTC, for output and for input without an offset. */
export function useUtc(): void {
  process.env.TZ = "UTC";
}

/** Formats a time as local ISO 8601 with offset, to the microsecond: `2026-11-25T23:04:39.5+01:00`; empty when undefined. */
export function showTime(time: Timestamp | undefined): string {
  if (time === undefined) return "";
  const utc = timeText(time);
  const offset = offsetMinutes(time);
  if (offset === undefined || offset === 0) return utc;
  const local = timeText({ ...time, seconds: time.seconds + BigInt(offset) * 60n });
  return `${local.slice(0, -1)}${offsetText(offset)}`;
}

/** Returns a table cell with the time: on a terminal local time to the second or minute, without offset. */
export function timeCell(time: Timestamp | undefined): Cell {
  const full = showTime(time);
  const [, date, clock] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/.exec(full) ?? [];
  return date === undefined
    ? full
    : { forms: [full, `${date} ${clock}`, `${date.slice(5)} ${clock?.slice(0, 5)}`], onTerminal: 1 };
}

/** Returns the offset of local time from UTC at this time; undefined outside the range of Date. */
function offsetMinutes({ seconds }: Timestamp): number | undefined {
  const offset = -new Date(Number(seconds) * 1_000).getTimezoneOffset();
  return Number.isNaN(offset) ? undefined : Math.trunc(offset);
}

function offsetText(minutes: number): string {
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${minutes < 0 ? "-" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
}
