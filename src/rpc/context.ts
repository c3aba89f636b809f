import { fail } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import type { CallerContext } from "../base/caller-context.js";

/**
 * Who calls. There is no authentication yet, so everyone is this one caller; request ids and page tokens belong to it.
 * This is the only place that says so.
 */
export const LOCAL_CALLER: Uuid = "00000000-0000-7000-8000-000000000001";

/** What a method knows of the call it answers. */
export interface CallContext extends CallerContext {
  readonly caller: Uuid;
  /** The request_id of the message, or of the `x-request-id` header, or a new one. */
  readonly requestId: string;
  /** The W3C trace id: the caller's when it sent a traceparent. */
  readonly traceId: string;
}

/** Until when a call is waited for. */
export interface Deadline {
  /** In ms since 1970. */
  readonly deadlineMs: number;
  /** Whether the caller set it, not the service. */
  readonly isSetByCaller: boolean;
}

/** The part of a grpc-js call that says whether its caller still waits. */
interface Waiting {
  readonly cancelled: boolean;
}

export function createContext(
  call: Waiting,
  { deadlineMs, isSetByCaller: isCallers }: Deadline,
  ids: { readonly requestId: string; readonly traceId: string },
): CallContext {
  return {
    caller: LOCAL_CALLER,
    requestId: ids.requestId,
    traceId: ids.traceId,
    assertWaiting: () => {
      if (call.cancelled) fail({ reason: "CALLER_GONE" });
      // A caller who set no deadline still waits: there was too much to do.
      if (Date.now() >= deadlineMs) fail({ reason: isCallers ? "CALLER_GONE" : "OVERLOADED" });
    },
  };
}
