import { randomUUID } from "node:crypto";
import { trace } from "@opentelemetry/api";

/**
 * The trace id of the call: that of the active span, else the one in the caller's W3C traceparent, else a new one. So
 * every call has one, whether spans are exported or not.
 */
export function parseTraceId(traceparent: string | undefined): string {
  const span = trace.getActiveSpan();
  if (span !== undefined) return span.spanContext().traceId;
  const match =
    traceparent === undefined ? null : /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(traceparent);
  const traceId = match?.[1];
  // A UUID's digits are random enough for an id, and come out of a store that is filled for many at once.
  return traceId === undefined || /^0+$/.test(traceId) ? randomUUID().replaceAll("-", "") : traceId;
}
