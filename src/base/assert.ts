/** A fault of the program itself, never of its caller. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Stops with an AssertionError unless the condition holds: for what only a fault of the program can break. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The value, which the program knows to be there. */
export function assertPresent<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new AssertionError(`${what} is missing`);
  return value;
}
