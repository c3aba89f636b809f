/** Microseconds since 1970 in UTC: the precision of the database's clock. */
export type Micros = bigint;

/** A point in time as the contract writes it. */
export interface TimestampParts {
  readonly seconds: bigint;
  /** 0 to 999,999,999. */
  readonly nanos: number;
}

/**
 * Returns the time in microseconds, rounded down: for effective times, and for upper bounds that are inclusive. No record lies
 * between the time and its rounded value.
 */
export function microsDown(time: TimestampParts): Micros {
  return time.seconds * 1_000_000n + BigInt(Math.floor(time.nanos / 1_000));
}

/**
 * Returns the time or the duration in microseconds, rounded up: for lower bounds, for upper bounds that are exclusive, for
 * earliest times and for delays. The result is at most the last microsecond that the contract can write.
 */
export function microsUp(time: TimestampParts): Micros {
  const micros = time.seconds * 1_000_000n + BigInt(Math.ceil(time.nanos / 1_000));
  return micros > MICROS_MAX ? MICROS_MAX : micros;
}

/** The end of the year 9999. */
const MICROS_MAX = 253_402_300_799_999_999n;

/** Returns the time as the contract writes it. */
export function fromMicros(micros: Micros): { seconds: bigint; nanos: number } {
  const micro = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  return { seconds: (micros - micro) / 1_000_000n, nanos: Number(micro) * 1_000 };
}

/** Returns the date in microseconds. */
export function toMicros(date: Date): Micros {
  return BigInt(date.getTime()) * 1_000n;
}

/** Returns the date as the contract writes it. */
export function fromDate(date: Date): { seconds: bigint; nanos: number } {
  return fromMicros(toMicros(date));
}

/** Formats a time from 1970 on as PostgreSQL reads it: ISO 8601 in UTC with microseconds. */
export function toIso(micros: Micros): string {
  const seconds = new Date(Number(micros / 1_000_000n) * 1_000).toISOString().slice(0, 19);
  return `${seconds}.${(micros % 1_000_000n).toString().padStart(6, "0")}Z`;
}
