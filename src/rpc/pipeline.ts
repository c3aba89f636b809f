import type { Logger } from "../telemetry/logger.js";
import type { Admission } from "./admission.js";
import type { FindCurrency } from "./amounts.js";
import type { Validate } from "./validate.js";

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
