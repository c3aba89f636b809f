import type { Metadata } from "@grpc/grpc-js";
import type { FailureError, FieldViolation } from "../base/failure.js";
import { newId } from "../base/ids.js";
import type { Deadline } from "./context.js";
import type { Logger } from "../telemetry/logger.js";
import { parseTraceId } from "../telemetry/trace.js";
import { MALFORMED_TIMEOUT } from "./transport.js";

/**
 * The ids of a call, from its headers; the request id of its message takes the place of the header's. One is made only for
 * a call that has neither.
 */
export function openCall(headers: Metadata): CallState {
  let given = headerText(headers, "x-request-id");
  return {
    get requestId() {
      return (given ??= newId());
    },
    set requestId(ofMessage: string) {
      given = ofMessage;
    },
    traceId: parseTraceId(headerText(headers, "traceparent")),
  };
}

/** What a call is known by, in its answer and in the log. */
export interface CallState {
  requestId: string;
  readonly traceId: string;
}

/** Until when the call is waited for: as its caller said, and the given time from now at the latest. */
export function resolveDeadline(call: { getDeadline(): Date | number }, callTimeoutMs: number): Deadline {
  const latest = Date.now() + callTimeoutMs;
  const given = Number(call.getDeadline());
  return given < latest ? { deadlineMs: given, isSetByCaller: true } : { deadlineMs: latest, isSetByCaller: false };
}

/** What HTTP/2 counts for a header besides its name and value. Source: RFC 9113, section 6.5.2 */
const HEADER_OVERHEAD_BYTES = 32;

/**
 * What is wrong with the headers of a call: that they take too many bytes, or name a deadline that cannot be read. The
 * transport only refuses what is far beyond.
 */
export function headerViolations(headers: Metadata, bytesMax: number): FieldViolation[] {
  let bytes = 0;
  for (const [name, values] of Object.entries(headers.toJSON())) {
    if (name === MALFORMED_TIMEOUT) return [TIMEOUT_VIOLATION];
    for (const value of values) bytes += name.length + value.length + HEADER_OVERHEAD_BYTES;
  }
  return bytes <= bytesMax ? [] : [{ field: "", rule: `headers must take no more than ${bytesMax} bytes` }];
}

const TIMEOUT_VIOLATION: FieldViolation = {
  field: "",
  rule: "the header grpc-timeout must be up to 8 digits and one of the units H, M, S, m, u, n",
};

/** A header as text that may be logged and sent back: at most 128 visible ASCII characters, else it is not taken. */
function headerText(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return typeof value === "string" && /^[!-~]{1,128}$/.test(value) ? value : undefined;
}

/** Milliseconds since a process.hrtime, in steps of a microsecond. */
export function msSince(started: bigint): number {
  return Number((process.hrtime.bigint() - started) / 1_000n) / 1_000;
}

/** The one line that a call leaves in the log; `info` for what the caller can cause, `warn` for what the operator should see. */
export function logCall(
  logger: Logger,
  path: string,
  state: CallState,
  started: bigint,
  code: string,
  error?: FailureError,
  extra: Readonly<Record<string, number>> = {},
): void {
  const reason = error?.failure.reason;
  const level = code === "UNAVAILABLE" || code === "RESOURCE_EXHAUSTED" || code === "INTERNAL" ? "warn" : "info";
  logger.log(level, "call", {
    method: path,
    code,
    durationMs: msSince(started),
    ...state,
    ...extra,
    ...(reason !== undefined && { reason }),
    ...(error?.cause instanceof Error && { cause: `${error.cause.name}: ${error.cause.message}` }),
  });
}
