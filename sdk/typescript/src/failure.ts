import type { ServiceError, status } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../../../generated/google/rpc/error_details.js";
import { Status } from "../../../generated/google/rpc/status.js";

/** The failure of a call, as the server reported it. Match on `reason`, never on the message. */
export interface CallFailure {
  readonly code: status;
  readonly message: string;
  /** The name in grey.error.v1.ErrorReason; undefined if the error does not come from a Grey server. */
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly { readonly field: string; readonly rule: string }[];
  readonly retryAfterMs: number | undefined;
  /** The server's id of the call and its trace id, both of which are in its log; empty if it sent none. */
  readonly servedRequestId: string;
  readonly traceId: string;
}

const DETAILS_KEY = "grpc-status-details-bin";
const TYPE_PREFIX = "type.googleapis.com/";

/** Decodes the error and the details of its google.rpc.Status, if it has any. */
export function decodeCallFailure(error: ServiceError): CallFailure {
  const details = errorDetails(error);
  const info = details.get("ErrorInfo", (bytes) => ErrorInfo.decode(bytes));
  const request = details.get("RequestInfo", (bytes) => RequestInfo.decode(bytes));
  const retryDelay = details.get("RetryInfo", (bytes) => RetryInfo.decode(bytes))?.retryDelay;
  const violations = details.get("BadRequest", (bytes) => BadRequest.decode(bytes))?.fieldViolations ?? [];
  return {
    code: error.code,
    message: error.details,
    reason: info?.reason,
    metadata: info?.metadata ?? {},
    violations: violations.map(({ field, description }) => ({ field, rule: description })),
    retryAfterMs: retryDelay && Number(retryDelay.seconds) * 1_000 + Math.ceil(retryDelay.nanos / 1e6),
    servedRequestId: request?.requestId ?? "",
    traceId: request?.servingData ?? "",
  };
}

/** Decodes the details; a malformed one counts as absent. */
function errorDetails(error: ServiceError) {
  const [bytes] = error.metadata.get(DETAILS_KEY);
  const details = bytes instanceof Uint8Array ? (tryDecode(bytes, (all) => Status.decode(all))?.details ?? []) : [];
  return {
    get<T>(type: string, decode: (bytes: Uint8Array) => T): T | undefined {
      const any = details.find(({ typeUrl }) => typeUrl === `${TYPE_PREFIX}google.rpc.${type}`);
      return any && tryDecode(any.value, decode);
    },
  };
}

function tryDecode<T>(bytes: Uint8Array, decode: (bytes: Uint8Array) => T): T | undefined {
  try {
    return decode(bytes);
  } catch {
    return undefined;
  }
}
