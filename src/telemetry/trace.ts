import { randomUUID } from "node:crypto";
import { trace } from "@opentelemetry/api";

/**
 * Returns the trace id of a call: the active span's, else that of the caller's W3C traceparent, else a new one. So every call
 * has one, whether or not spans are exported.
 */
export function parseTraceId(traceparent: string | undefined): string {
  const span = trace.getActiveSpan();
  if (span !== undefined) return span.spanContext().traceId;
  const match =
    traceparent === undefined ? null : /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(traceparent);
  const traceId = match?.[1];
  // A UUID's digits are random enough for an id, and Node draws the random bytes of many at once.
  return traceId === undefined || /^0+$/.test(traceId) ? randomUUID().replaceAll("-", "") : traceId;
}
