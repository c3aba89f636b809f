/** A google.protobuf.Timestamp. */
interface Timestamp {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Formats a point in time in ISO 8601, to the microsecond; one beyond the calendar, in seconds since 1970. */
export function timeText(time: Timestamp): string {
  const date = new Date(Number(time.seconds) * 1_000);
  if (Number.isNaN(date.getTime())) return `${time.seconds} s`;
  const micros = Math.floor(time.nanos / 1_000);
  return `${date.toISOString().slice(0, -5)}${micros === 0 ? "" : `.${String(micros).padStart(6, "0")}`}Z`;
}
