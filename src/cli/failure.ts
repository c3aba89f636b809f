import { status } from "@grpc/grpc-js";
import type { CallFailure } from "../../sdk/typescript/src/failure.js";
import { printable } from "./text.js";

/** A mistake in the command line. The message is printed as it is. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A failed call, with its target and request id. */
export class CallError extends Error {
  override readonly name = "CallError";

  constructor(
    readonly failure: CallFailure,
    readonly call: {
      readonly address: string;
      readonly timeoutMs: number;
      /** The request_id of a mutating call. */
      readonly requestId: string | undefined;
    },
    options?: ErrorOptions,
  ) {
    super(failure.message, options);
  }
}

/** The codes of a final refusal; after any other code a retry of the request may succeed. */
export const FINAL: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
]);

/** Returns true if the call certainly never reached a server. */
export function wasNeverSent({ code, message, reason }: CallFailure): boolean {
  return (
    code === status.UNAVAILABLE &&
    reason === undefined &&
    /^(No connection established|Name resolution failed)/.test(message)
  );
}

/** Describes a failed call in one line, plus a second one on how to retry a change safely. */
export function describeCallError({ failure, call }: CallError): string {
  const line = isFromGrey(failure) ? describeRefusal(failure) : describeNoAnswer(failure, call);
  if (call.requestId === undefined || FINAL.has(failure.code)) return line;
  return `${line}\n${retryLine(call.requestId)}`;
}

/** Explains how to retry a change with an unknown outcome. */
export function retryLine(requestId: string): string {
  return `To retry safely, repeat the command with --request-id ${printable(requestId)}`;
}

function isFromGrey(failure: CallFailure): boolean {
  return (
    failure.reason !== undefined || (failure.code !== status.UNAVAILABLE && failure.code !== status.DEADLINE_EXCEEDED)
  );
}

function describeRefusal(failure: CallFailure): string {
  const facts = [
    ...Object.entries(failure.metadata).filter(
      ([name, value]) => !failure.message.includes(value) && !isShownAsAmount(name, failure),
    ),
    ...(failure.servedRequestId === "" ? [] : [["request", failure.servedRequestId]]),
    ...(failure.traceId === "" ? [] : [["trace", failure.traceId]]),
  ];
  const violations = failure.violations
    .map(({ field, rule }) => `${field}: ${rule}`)
    .filter((violation) => !failure.message.includes(violation));
  const parts = [
    `${failure.reason ?? status[failure.code]}: ${failure.message}`,
    violations.length > 0 && `(${violations.join("; ")})`,
    failure.retryAfterMs !== undefined && `(retry in ${failure.retryAfterMs} ms)`,
    facts.length > 0 && `[${facts.map(([name, value]) => `${name} ${value}`).join(", ")}]`,
  ];
  return printable(parts.filter((part) => part !== false).join(" "));
}

/** Returns true if the message already shows this value as a decimal amount. */
function isShownAsAmount(name: string, { reason, metadata }: CallFailure): boolean {
  const isOfLimit = reason === "VELOCITY_EXCEEDED" && metadata.measure === "amount";
  return name.endsWith("_minor_units") || (isOfLimit && ["max", "used", "required"].includes(name));
}

function describeNoAnswer(failure: CallFailure, call: CallError["call"]): string {
  if (failure.code === status.DEADLINE_EXCEEDED) {
    return `no reply from ${call.address} within ${call.timeoutMs} ms; set --timeout <ms> to wait longer`;
  }
  // grpc-js ends its message with a note on name resolution, which is usually empty.
  const cause = printable(failure.message.replace(/ Resolution note: *$/, ""));
  return (
    `cannot reach a Grey server at ${call.address}: ${cause} ` +
    "(start one with `grey serve`, or set --address or GREY_ADDRESS)"
  );
}
