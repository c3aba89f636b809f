import { Metadata, status } from "@grpc/grpc-js";
import type { Any } from "../../generated/google/protobuf/any.js";
import { BadRequest, ErrorInfo, RequestInfo, RetryInfo } from "../../generated/google/rpc/error_details.js";
import { Status } from "../../generated/google/rpc/status.js";
import type { DatabaseTrouble, Failure, FailureError, FieldViolation, Reason } from "../base/failure.js";
import type { CurrencyUnit } from "../base/money.js";
import { formatAmounts } from "./amounts.js";
import { truncate, percentEncodedBytes } from "./truncate.js";

/** The gRPC code of each reason. A reason that is missing here does not compile. */
export const CODE = {
  INVALID_REQUEST: status.INVALID_ARGUMENT,
  REQUEST_ID_REUSED: status.ALREADY_EXISTS,
  PAGE_TOKEN_INVALID: status.INVALID_ARGUMENT,
  ETAG_MISMATCH: status.ABORTED,
  USER_NOT_FOUND: status.NOT_FOUND,
  EMAIL_TAKEN: status.ALREADY_EXISTS,
  USER_HAS_FUNDS: status.FAILED_PRECONDITION,
  WALLET_NOT_FOUND: status.NOT_FOUND,
  WALLET_FROZEN: status.FAILED_PRECONDITION,
  WALLET_CLOSED: status.FAILED_PRECONDITION,
  WALLET_NOT_FROZEN: status.FAILED_PRECONDITION,
  WALLET_NOT_CLOSED: status.FAILED_PRECONDITION,
  WALLET_NOT_EMPTY: status.FAILED_PRECONDITION,
  ACCOUNT_NOT_FOUND: status.NOT_FOUND,
  CURRENCY_NOT_FOUND: status.NOT_FOUND,
  CURRENCY_EXISTS: status.ALREADY_EXISTS,
  TRANSACTION_NOT_FOUND: status.NOT_FOUND,
  INSUFFICIENT_FUNDS: status.FAILED_PRECONDITION,
  CURRENCY_MISMATCH: status.FAILED_PRECONDITION,
  SAME_WALLET: status.INVALID_ARGUMENT,
  BALANCE_OVERFLOW: status.OUT_OF_RANGE,
  HOLD_NOT_FOUND: status.NOT_FOUND,
  HOLD_ENDED: status.FAILED_PRECONDITION,
  HOLD_EXPIRED: status.FAILED_PRECONDITION,
  HOLD_EXCEEDED: status.FAILED_PRECONDITION,
  HOLD_HAS_DESTINATION: status.FAILED_PRECONDITION,
  EXPIRY_INVALID: status.INVALID_ARGUMENT,
  PRECONDITION_FAILED: status.FAILED_PRECONDITION,
  NOT_REVERSIBLE: status.FAILED_PRECONDITION,
  REVERSAL_EXCEEDED: status.FAILED_PRECONDITION,
  TOO_MANY_REVERSALS: status.FAILED_PRECONDITION,
  MAX_BALANCE_EXCEEDED: status.FAILED_PRECONDITION,
  VELOCITY_EXCEEDED: status.FAILED_PRECONDITION,
  LIMIT_BREACHED: status.FAILED_PRECONDITION,
  ACCOUNT_EXISTS: status.ALREADY_EXISTS,
  RATE_NOT_FOUND: status.NOT_FOUND,
  SAME_CURRENCY: status.INVALID_ARGUMENT,
  QUOTE_INVALID: status.INVALID_ARGUMENT,
  QUOTE_EXPIRED: status.FAILED_PRECONDITION,
  EXCHANGE_AMOUNT_INVALID: status.OUT_OF_RANGE,
  METADATA_EXCEEDED: status.FAILED_PRECONDITION,
  BATCH_ABORTED: status.ABORTED,
  SCHEDULE_NOT_FOUND: status.NOT_FOUND,
  SCHEDULE_TIME_INVALID: status.INVALID_ARGUMENT,
  SCHEDULE_ENDED: status.FAILED_PRECONDITION,
  SCHEDULE_NOT_ACTIVE: status.FAILED_PRECONDITION,
  SCHEDULE_NOT_PAUSED: status.FAILED_PRECONDITION,
  ALERT_NOT_FOUND: status.NOT_FOUND,
  TOO_MANY_ALERTS: status.FAILED_PRECONDITION,
  OVERLOADED: status.RESOURCE_EXHAUSTED,
  DATABASE_UNAVAILABLE: status.UNAVAILABLE,
  OUTCOME_UNKNOWN: status.UNAVAILABLE,
  CALLER_GONE: status.CANCELLED,
  SHUTTING_DOWN: status.UNAVAILABLE,
  JOURNAL_BEHIND: status.UNAVAILABLE,
  WATCHER_TOO_SLOW: status.RESOURCE_EXHAUSTED,
  INTERNAL: status.INTERNAL,
} as const satisfies Record<Reason, status>;

/** What each reason says to people. Values of the caller's own are in the metadata, not here. */
const MESSAGE = {
  INVALID_REQUEST: "the request breaks a rule of the contract",
  REQUEST_ID_REUSED: "another request was made with this request_id",
  PAGE_TOKEN_INVALID: "the page token does not belong to this request",
  ETAG_MISMATCH: "the resource was changed since its etag was read",
  USER_NOT_FOUND: "there is no such user",
  EMAIL_TAKEN: "another user has this email",
  USER_HAS_FUNDS: "the user still has money in a wallet",
  WALLET_NOT_FOUND: "there is no such wallet",
  WALLET_FROZEN: "the wallet is frozen",
  WALLET_CLOSED: "the wallet is closed",
  WALLET_NOT_FROZEN: "the wallet is not frozen",
  WALLET_NOT_CLOSED: "the wallet is not closed",
  WALLET_NOT_EMPTY: "the wallet has money, or holds that concern it",
  ACCOUNT_NOT_FOUND: "there is no such account",
  CURRENCY_NOT_FOUND: "there is no such currency",
  CURRENCY_EXISTS: "the currency exists already",
  TRANSACTION_NOT_FOUND: "there is no such transaction",
  INSUFFICIENT_FUNDS: "the available balance is too low",
  CURRENCY_MISMATCH: "the amount is not in the wallet's currency",
  SAME_WALLET: "a wallet cannot be on both sides of a transfer",
  BALANCE_OVERFLOW: "the amount is too large: the balance would not fit into 64 bits of minor units",
  HOLD_NOT_FOUND: "there is no such hold",
  HOLD_ENDED: "the hold has ended",
  HOLD_EXPIRED: "the hold has expired",
  HOLD_EXCEEDED: "the amount exceeds what is left of the hold",
  HOLD_HAS_DESTINATION: "the hold is for another wallet",
  EXPIRY_INVALID: "a hold expires within 400 days, and is only ever extended",
  PRECONDITION_FAILED: "a precondition of the request does not hold",
  NOT_REVERSIBLE: "the transaction moved no money, or is a reversal itself",
  REVERSAL_EXCEEDED: "the amount exceeds what is left of the transaction to reverse",
  TOO_MANY_REVERSALS: "the transaction was reversed in too many parts to reverse another one",
  MAX_BALANCE_EXCEEDED: "the amount would exceed the account's maximum balance",
  VELOCITY_EXCEEDED: "the amount or count would exceed a velocity limit",
  LIMIT_BREACHED: "the balance is outside of the limit that is to be set",
  ACCOUNT_EXISTS: "the system account exists already",
  RATE_NOT_FOUND: "there is no rate for these currencies at this time",
  SAME_CURRENCY: "an exchange needs two currencies",
  QUOTE_INVALID: "the quote does not belong to this exchange",
  QUOTE_EXPIRED: "the quote's time has passed",
  EXCHANGE_AMOUNT_INVALID: "the rate brings the amount to 0 or out of its range",
  METADATA_EXCEEDED: "the transaction would have more than 32 pairs of metadata",
  BATCH_ABORTED: "another item of the atomic batch was refused",
  SCHEDULE_NOT_FOUND: "there is no such schedule",
  SCHEDULE_TIME_INVALID: "the schedule would never run, or only too far ahead",
  SCHEDULE_ENDED: "the schedule has ended",
  SCHEDULE_NOT_ACTIVE: "the schedule is paused already",
  SCHEDULE_NOT_PAUSED: "the schedule is not paused",
  ALERT_NOT_FOUND: "there is no such alert",
  TOO_MANY_ALERTS: "the wallet has as many alerts as one can have",
  OVERLOADED: "the service is at capacity",
  DATABASE_UNAVAILABLE: "the database cannot be used; nothing was written",
  OUTCOME_UNKNOWN: "the outcome is not known; retry with the same request_id to learn it",
  CALLER_GONE: "the caller did not wait for the answer; nothing was written",
  SHUTTING_DOWN: "the service is shutting down",
  JOURNAL_BEHIND: "the database does not have that record of the journal yet",
  WATCHER_TOO_SLOW: "the client of the stream took no message for too long",
  INTERNAL: "internal error",
} as const satisfies Record<Reason, string>;

const TROUBLE = {
  unreachable: "cannot be reached",
  read_only: "is read-only",
  disk_full: "has no room left on its disk",
  refusing: "refuses to serve now",
} as const satisfies Record<DatabaseTrouble, string>;

/** Reasons that pass: the caller is told when to send the same request again. */
const RETRIED: readonly Reason[] = [
  "OVERLOADED",
  "DATABASE_UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "SHUTTING_DOWN",
  "JOURNAL_BEHIND",
];

/** What an answer says of the call that it belongs to. */
export interface CallIds {
  readonly requestId: string;
  readonly traceId: string;
}

/** A gRPC error as grpc-js sends it. */
export interface GrpcError {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

const BINARY_KEY = "grpc-status-details-bin";
/** The delay of RetryInfo as gRPC clients read it that retry by themselves. Source: gRPC proposal A6. */
const PUSHBACK_KEY = "grpc-retry-pushback-ms";
const DOMAIN = "grey";

// What tells of a failure travels in trailers, of which some clients take less than 8,192 bytes, counted as HTTP/2 does: base64 takes
// a third more, and the message is there twice. These parts leave room for the ids and all else.
const VIOLATIONS_MAX = 20;
const VIOLATIONS_BYTES_MAX = 3_200;
const FIELD_BYTES_MAX = 200;
const RULE_BYTES_MAX = 300;
const METADATA_BYTES_MAX = 2_048;
/** As grpc-message has it. */
const MESSAGE_BYTES_MAX = 1_024;

/** The trailers of every answer. */
export function createTrailers({ requestId, traceId }: CallIds): Metadata {
  const trailers = new Metadata();
  trailers.set("grey-request-id", requestId);
  trailers.set("grey-trace-id", traceId);
  return trailers;
}

/** The failure as a gRPC error, as AIP-193 wants it. */
export function toGrpcError(error: FailureError, ids: CallIds, retryAfterMs: number): GrpcError {
  const { code, message, details } = toStatus(error, ids, retryAfterMs);
  const metadata = createTrailers(ids);
  if (RETRIED.includes(error.failure.reason)) metadata.set(PUSHBACK_KEY, `${retryAfterMs}`);
  metadata.set(BINARY_KEY, Buffer.from(Status.encode({ code, message, details }).finish()));
  return { code, details: message, metadata };
}

/** The failure as a google.rpc.Status with its details: what an item of a batch or a stream is answered with. */
export function toStatus({ failure, details }: FailureError, ids: CallIds | undefined, retryAfterMs: number): Status {
  const extra: Record<string, string> = {};
  if (details.replayed === true) extra.replayed = "true";
  if (details.transactionId !== undefined) extra.transaction_id = details.transactionId;
  if (details.journalIndex !== undefined) extra.journal_index = details.journalIndex.toString();
  const info = { reason: failure.reason, domain: DOMAIN, metadata: fitting({ ...metadataOf(failure), ...extra }) };
  const packed: Any[] = [pack("ErrorInfo", ErrorInfo.encode(info).finish())];
  if (failure.reason === "INVALID_REQUEST") {
    packed.push(pack("BadRequest", encodeViolations(failure.violations)));
  }
  if (RETRIED.includes(failure.reason)) {
    const retryDelay = { seconds: BigInt(Math.floor(retryAfterMs / 1_000)), nanos: (retryAfterMs % 1_000) * 1_000_000 };
    packed.push(pack("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  if (ids !== undefined) {
    const requestInfo = RequestInfo.encode({ requestId: ids.requestId, servingData: ids.traceId });
    packed.push(pack("RequestInfo", requestInfo.finish()));
  }
  // Half of a character cannot be percent-encoded.
  const message = messageOf(failure, details.currency).replace(/\p{Surrogate}/gu, "\ufffd");
  return {
    code: CODE[failure.reason],
    message: truncate(message, MESSAGE_BYTES_MAX, percentEncodedBytes),
    details: packed,
  };
}

/** The status with a reason alone: at the least of bytes. */
export function withoutMetadata({ code, message, details }: Status): Status {
  const bare = details.map((detail) => {
    if (detail.typeUrl !== ERROR_INFO) return detail;
    return pack("ErrorInfo", ErrorInfo.encode({ ...ErrorInfo.decode(detail.value), metadata: {} }).finish());
  });
  return { code, message, details: bare };
}

function messageOf(failure: Failure, currency: CurrencyUnit | undefined): string {
  if (failure.reason !== "INVALID_REQUEST") {
    if (failure.reason === "DATABASE_UNAVAILABLE" && failure.cause !== undefined) {
      return `the database ${TROUBLE[failure.cause]}; nothing was written`;
    }
    const amounts = formatAmounts(failure, currency);
    return amounts === "" ? MESSAGE[failure.reason] : `${MESSAGE[failure.reason]}: ${amounts}`;
  }
  const shown = failure.violations.slice(0, 3).map(({ field, rule }) => `${truncate(field, FIELD_BYTES_MAX)}: ${rule}`);
  const more = failure.violations.length - shown.length;
  return `${shown.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

/** The first violations, as many as there is room for, as a google.rpc.BadRequest. */
function encodeViolations(violations: readonly FieldViolation[]): Uint8Array {
  const encoded: Uint8Array[] = [];
  let left = VIOLATIONS_BYTES_MAX;
  for (const { field, rule } of violations.slice(0, VIOLATIONS_MAX)) {
    const violation = {
      field: truncate(field, FIELD_BYTES_MAX),
      description: truncate(rule, RULE_BYTES_MAX),
      reason: "",
      localizedMessage: undefined,
    };
    const bytes = BadRequest.encode({ fieldViolations: [violation] }).finish();
    left -= bytes.length;
    if (left < 0) break;
    encoded.push(bytes);
  }
  // Messages of one kind that stand one after the other are one message.
  return Buffer.concat(encoded);
}

/** The metadata with its longest values cut, where all together take too much. */
function fitting(metadata: Record<string, string>): Record<string, string> {
  const entries = Object.entries(metadata);
  const sizeOf = (valueBytesMax: number): number =>
    entries.reduce((sum, [name, value]) => sum + name.length + Math.min(valueBytesMax, Buffer.byteLength(value)), 0);
  let valueBytesMax = METADATA_BYTES_MAX;
  while (sizeOf(valueBytesMax) > METADATA_BYTES_MAX) valueBytesMax /= 2;
  return Object.fromEntries(entries.map(([name, value]) => [name, truncate(value, valueBytesMax)]));
}

/** The failure's fields as ErrorInfo's metadata: snake_case names, amounts as decimal strings, lists with commas. */
function metadataOf(failure: Failure): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(failure)) {
    if (name === "reason" || name === "violations" || value === undefined) continue;
    metadata[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = String(value);
  }
  return metadata;
}

const TYPES = "type.googleapis.com/google.rpc.";
const ERROR_INFO = `${TYPES}ErrorInfo`;

function pack(type: string, value: Uint8Array): Any {
  return { typeUrl: `${TYPES}${type}`, value: Buffer.from(value) };
}
