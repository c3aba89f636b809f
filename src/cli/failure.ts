import { status } from "@grpc/grpc-js";
import type { CallFailure } from "../../sdk/typescript/src/failure.js";
import { printable } from "./text.js";

/** A command that cannot be carried out as it was typed. The message is meant for who typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
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

/** After these the server has said no for good; after any other the same request may still be carried out. */
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

/** Whether the call surely never reached a server. */
export function isNotSent({ code, message, reason }: CallFailure): boolean {
  return (
    code === status.UNAVAILABLE &&
    reason === undefined &&
    /^(No connection established|Name resolution failed)/.test(message)
  );
}

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
    ...Object.entries(failure.metadata).filter(
      ([name, value]) => !failure.message.includes(value) && !isAmount(name, failure),
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
    failure.retryAfterMs !== undefined && `(try again in ${failure.retryAfterMs} ms)`,
    facts.length > 0 && `[${facts.map(([name, value]) => `${name} ${value}`).join(", ")}]`,
  ];
  return printable(parts.filter((part) => part !== false).join(" "));
}

/** Whether the message tells it as an amount for people. */
function isAmount(name: string, { reason, metadata }: CallFailure): boolean {
  const isOfLimit = reason === "VELOCITY_EXCEEDED" && metadata.measure === "amount";
  return name.endsWith("_minor_units") || (isOfLimit && ["max", "used", "required"].includes(name));
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
