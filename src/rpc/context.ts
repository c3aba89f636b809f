import { fail } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import type { CallerContext } from "../base/caller-context.js";

/**
 * The one caller there is while nothing authenticates callers: request ids and page tokens belong to it. Nothing else in the
 * code depends on there being only one.
 */
export const LOCAL_CALLER: Uuid = "00000000-0000-7000-8000-000000000001";

/** A method's view of the call that it answers. */
export interface CallContext extends CallerContext {
  readonly caller: Uuid;
  /** The request_id of the message, or of the `x-request-id` header, or a new one. */
  readonly requestId: string;
  /** The W3C trace id: the caller's, if it sent a traceparent. */
  readonly traceId: string;
}

/** The time at which a call ends unanswered. */
export interface Deadline {
  /** In ms since 1970. */
  readonly deadlineMs: number;
  /** False for the service's own limit. */
  readonly isSetByCaller: boolean;
}

/** The state of a grpc-js call that tells whether its caller still waits. */
interface Cancellable {
  readonly cancelled: boolean;
}

/** Returns the caller's deadline, or the service's own limit if that comes first. */
export function resolveDeadline(call: { getDeadline(): Date | number }, callTimeoutMs: number): Deadline {
  const limitMs = Date.now() + callTimeoutMs;
  const deadlineMs = Number(call.getDeadline());
  return deadlineMs < limitMs ? { deadlineMs, isSetByCaller: true } : { deadlineMs: limitMs, isSetByCaller: false };
}

export function createContext(
  call: Cancellable,
  { deadlineMs, isSetByCaller }: Deadline,
  ids: { readonly requestId: string; readonly traceId: string },
): CallContext {
  return {
    caller: LOCAL_CALLER,
    requestId: ids.requestId,
    traceId: ids.traceId,
    assertWaiting: () => {
      if (call.cancelled) fail({ reason: "CALLER_GONE" });
      // A caller without a deadline still waits: the service was too slow.
      if (Date.now() >= deadlineMs) fail({ reason: isSetByCaller ? "CALLER_GONE" : "OVERLOADED" });
    },
  };
}
