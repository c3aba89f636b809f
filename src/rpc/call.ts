import type { Metadata } from "@grpc/grpc-js";
import type { FailureError } from "../base/failure.js";
import { newId } from "../base/ids.js";
import type { Deadline } from "./context.js";
import type { Logger } from "../telemetry/logger.js";
import { traceIdOf } from "../telemetry/trace.js";

/** The ids of a call, from its headers; the request id of its message takes the place of the header's. */
export function openCall(headers: Metadata): CallState {
  return {
    requestId: headerText(headers, "x-request-id") ?? newId(),
    traceId: traceIdOf(headerText(headers, "traceparent")),
  };
}

/** What a call is known by, in its answer and in the log. */
export interface CallState {
  requestId: string;
  readonly traceId: string;
}

/** Until when the call is waited for: as its caller said, and the given time from now at the latest. */
export function deadlineOf(call: { getDeadline(): Date | number }, callTimeoutMs: number): Deadline {
  const latest = Date.now() + callTimeoutMs;
  const given = Number(call.getDeadline());
  return given < latest ? { deadlineMs: given, isCallers: true } : { deadlineMs: latest, isCallers: false };
}

/** A header as text that may be logged and sent back: at most 128 visible ASCII characters, else it is not taken. */
function headerText(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return typeof value === "string" && /^[!-~]{1,128}$/.test(value) ? value : undefined;
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
    durationMs: Number((process.hrtime.bigint() - started) / 1_000n) / 1_000,
    ...state,
    ...extra,
    ...(reason !== undefined && { reason }),
    ...(error?.cause instanceof Error && { cause: `${error.cause.name}: ${error.cause.message}` }),
  });
}
