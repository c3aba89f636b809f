/** Microseconds since 1970 in UTC: the precision of the database's clock. */
export type Micros = bigint;

/** A point in time as the contract writes it. */
export interface TimestampParts {
  readonly seconds: bigint;
  /** 0 to 999,999,999. */
  readonly nanos: number;
}

/**
 * The point in time in microseconds, finer parts cut off: when something took effect, and up to when something counts (a time
 * that is included). No record lies between both.
 */
export function microsDown(time: TimestampParts): Micros {
  return time.seconds * 1_000_000n + BigInt(Math.floor(time.nanos / 1_000));
}

/**
 * The point in time or the duration in microseconds, rounded up: from when on something counts, until when (a time that is not
 * included), not before when, and after how long. No later than the last microsecond that the contract can write.
 */
export function microsUp(time: TimestampParts): Micros {
  const micros = time.seconds * 1_000_000n + BigInt(Math.ceil(time.nanos / 1_000));
  return micros > MICROS_MAX ? MICROS_MAX : micros;
}

/** The end of the year 9999. */
const MICROS_MAX = 253_402_300_799_999_999n;

/** The point in time as the contract writes it. */
export function fromMicros(micros: Micros): { seconds: bigint; nanos: number } {
  const micro = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  return { seconds: (micros - micro) / 1_000_000n, nanos: Number(micro) * 1_000 };
}

/** A date in microseconds. */
export function toMicros(date: Date): Micros {
  return BigInt(date.getTime()) * 1_000n;
}

/** A date as the contract writes it. */
export function fromDate(date: Date): { seconds: bigint; nanos: number } {
  return fromMicros(toMicros(date));
}

/** The point in time, from the year 1970 on, as PostgreSQL reads it: ISO 8601 in UTC with microseconds. */
export function toIso(micros: Micros): string {
  const seconds = new Date(Number(micros / 1_000_000n) * 1_000).toISOString().slice(0, 19);
  return `${seconds}.${(micros % 1_000_000n).toString().padStart(6, "0")}Z`;
}
