import { FailureError } from "../base/failure.js";
import { describeError, type Logger } from "../telemetry/logger.js";
import { currencyCodeOf, type FindCurrency } from "./amounts.js";
import type { Admission } from "./admission.js";
import type { CallState } from "./call.js";
import type { Validate } from "./validate.js";

/** The watches of a server. They are no work while nothing happens, so they do not count among the calls. */
export interface ServerStreams {
  open: number;
  readonly max: number;
  /** How long a client may take no message. */
  readonly stallMs: number;
}

/** What every call goes through. */
export interface Pipeline {
  readonly validatorFor: (path: string) => Validate;
  readonly logger: Logger;
  readonly retryAfterMs: number;
  /** Deadline of a call whose caller gave none, and the latest of all. */
  readonly callTimeoutMs: number;
  readonly admission: Admission;
  readonly findCurrency: FindCurrency;
  readonly serverStreams: ServerStreams;
  readonly metadataBytesMax: number;
  /** Aborted when the server stops: streams take no more. */
  readonly draining: AbortSignal;
}

/** The error as a failure. One that nobody foresaw is INTERNAL to the caller, and described in the log. */
export function knownFailure(error: unknown, logger: Logger, method: string, state: CallState): FailureError {
  const isKnown = error instanceof FailureError && error.failure.reason !== "INTERNAL";
  if (isKnown) return error;
  logger.error("fault", { method, ...state, ...describeError(error) });
  return new FailureError({ reason: "INTERNAL" });
}

/** Adds to the failure the currency that its message writes amounts in. */
export async function withCurrency(error: FailureError, findCurrency: FindCurrency): Promise<FailureError> {
  const code = currencyCodeOf(error.failure);
  if (code === undefined) return error;
  return new FailureError(error.failure, { ...error.details, currency: await findCurrency(code) });
}

/** What the caller of a failed call is told to wait, in ms; it matters where the failure passes. */
export function retryDelayMs({ failure }: FailureError, { admission, retryAfterMs }: Pipeline): number {
  return failure.reason === "OVERLOADED" ? admission.retryAfterMs() : retryAfterMs;
}
