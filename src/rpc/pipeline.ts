import type { Config } from "../config/config.js";
import type { Logger } from "../telemetry/logger.js";
import { Admission } from "./admission.js";
import type { FindCurrency } from "./amounts.js";
import type { Descriptors } from "./descriptors.js";
import { createValidatorFor, type Validate } from "./validate.js";

/** The server streams of a server. They cost nothing while nothing happens, so admission does not count them. */
export interface ServerStreams {
  open: number;
  readonly max: number;
  /** The longest time for which a client may leave a message unread. */
  readonly stallMs: number;
}

/** The parts that all calls of a server share. */
export interface Pipeline {
  readonly validatorFor: (path: string) => Validate;
  readonly logger: Logger;
  readonly retryAfterMs: number;
  /** The longest a call may take, also when its caller set a later deadline or none. */
  readonly callTimeoutMs: number;
  readonly admission: Admission;
  readonly findCurrency: FindCurrency;
  readonly serverStreams: ServerStreams;
  readonly metadataBytesMax: number;
  /** Aborted when the server stops: streams end. */
  readonly draining: AbortSignal;
}

export function createPipeline(
  config: Config,
  { registry }: Descriptors,
  logger: Logger,
  findCurrency: FindCurrency,
  draining: AbortSignal,
): Pipeline {
  return {
    validatorFor: createValidatorFor(registry),
    logger,
    retryAfterMs: config.GREY_RETRY_AFTER_MS,
    callTimeoutMs: config.GREY_CALL_TIMEOUT_MS,
    admission: new Admission({
      callsInFlightMax: config.GREY_CALLS_IN_FLIGHT_MAX,
      callWaitMs: config.GREY_CALL_WAIT_MS,
      retryAfterMs: config.GREY_RETRY_AFTER_MS,
    }),
    findCurrency,
    serverStreams: { open: 0, max: config.GREY_WATCHES_MAX, stallMs: config.GREY_WATCH_STALL_MS },
    metadataBytesMax: config.GREY_METADATA_BYTES_MAX,
    draining,
  };
}
