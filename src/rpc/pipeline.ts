import { FailureError } from "../base/failure.js";
import { describeError, type Logger } from "../telemetry/logger.js";
import type { CallState } from "./call.js";
import type { Validate } from "./validate.js";

/** What every call goes through. */
export interface Pipeline {
  readonly validatorFor: (path: string) => Validate;
  readonly logger: Logger;
  readonly retryAfterMs: number;
  /** Deadline of a call whose caller gave none, and the latest of all. */
  readonly callTimeoutMs: number;
  readonly callsInFlightMax: number;
  readonly metadataBytesMax: number;
  /** Aborted when the server stops: streams take no more. */
  readonly draining: AbortSignal;
}

/** Counts the calls that are worked on, for the whole server. */
export class InFlight {
  #count = 0;
  readonly #idle: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  enter(): void {
    this.#count += 1;
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves at the first moment at which no call is worked on. */
  whenIdle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}

/** The error as a failure. One that nobody foresaw is INTERNAL to the caller, and described in the log. */
export function knownFailure(error: unknown, logger: Logger, method: string, state: CallState): FailureError {
  const isKnown = error instanceof FailureError && error.failure.reason !== "INTERNAL";
  if (isKnown) return error;
  logger.error("fault", { method, ...state, ...describeError(error) });
  return new FailureError({ reason: "INTERNAL" });
}
