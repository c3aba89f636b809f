import { type ServiceError, status } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../../generated/google/rpc/error_details.js";
import { Status } from "../../generated/google/rpc/status.js";
import { printable } from "./text.js";

/** A command that cannot be carried out as it was typed. The message is meant for who typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a call failed with, as far as the server said. */
export interface CallFailure {
  readonly code: status;
  readonly message: string;
  /** The name in grey.error.v1.ErrorReason; undefined when the answer does not come from a Grey server. */
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly { readonly field: string; readonly rule: string }[];
  readonly retryAfterMs: number | undefined;
  /** The server's id of the call, and its trace, to be found in its log; empty when it sent none. */
  readonly servedRequestId: string;
  readonly traceId: string;
}

/** A call that failed, and what it was. */
export class CallError extends Error {
  override readonly name = "CallError";

  constructor(
    readonly failure: CallFailure,
    readonly call: {
      readonly address: string;
      readonly timeoutMs: number;
      /** The request_id of a call that changes something. */
      readonly requestId: string | undefined;
    },
    options?: ErrorOptions,
  ) {
    super(failure.message, options);
  }
}

const DETAILS_KEY = "grpc-status-details-bin";
const TYPE_PREFIX = "type.googleapis.com/";

/** What the error says, with the details of google.rpc.Status where there are any. */
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

/** The details that can be read; what is not what it claims to be counts as absent. */
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

/** After these the server has said no for good; after any other the same request may still be carried out. */
const FINAL: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
]);

/** The error for people: one line, and a second one where a retry is safe only in a certain way. */
export function describeCallError({ failure, call }: CallError): string {
  const line = isFromGrey(failure) ? describeAnswer(failure) : describeSilence(failure, call);
  if (call.requestId === undefined || FINAL.has(failure.code)) return line;
  return `${line}\n${retryLine(call.requestId)}`;
}

/** How to try again a change of which nobody knows whether it was carried out. */
export function retryLine(requestId: string): string {
  return `To try again without doing it twice, add: --request-id ${printable(requestId)}`;
}

function isFromGrey(failure: CallFailure): boolean {
  return (
    failure.reason !== undefined || (failure.code !== status.UNAVAILABLE && failure.code !== status.DEADLINE_EXCEEDED)
  );
}

function describeAnswer(failure: CallFailure): string {
  const facts = [
    ...Object.entries(failure.metadata).filter(([, value]) => !failure.message.includes(value)),
    ...(failure.servedRequestId === "" ? [] : [["request", failure.servedRequestId]]),
    ...(failure.traceId === "" ? [] : [["trace", failure.traceId]]),
  ];
  const violations = failure.violations
    .map(({ field, rule }) => `${field}: ${rule}`)
    .filter((violation) => !failure.message.includes(violation));
  const parts = [
    `${failure.reason ?? status[failure.code]}: ${failure.message}`,
    violations.length > 0 && `(${violations.join("; ")})`,
    failure.retryAfterMs !== undefined && `(try again in ${failure.retryAfterMs} ms)`,
    facts.length > 0 && `[${facts.map(([name, value]) => `${name} ${value}`).join(", ")}]`,
  ];
  return printable(parts.filter((part) => part !== false).join(" "));
}

function describeSilence(failure: CallFailure, call: CallError["call"]): string {
  if (failure.code === status.DEADLINE_EXCEEDED) {
    return `no answer from ${call.address} within ${call.timeoutMs} ms; --timeout <ms> waits longer`;
  }
  // grpc-js ends its message with what name resolution has to say, which is mostly nothing.
  const cause = printable(failure.message.replace(/ Resolution note: *$/, ""));
  return (
    `cannot reach a Grey server at ${call.address}: ${cause} ` +
    "(start one with `grey serve`, or name another with --address or GREY_ADDRESS)"
  );
}
