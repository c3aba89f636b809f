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

/** The message of each reason: what happened, the rule, and what to do. Values from the request are in the metadata, not here. */
const MESSAGE = {
  INVALID_REQUEST: "the request breaks a rule of the contract",
  REQUEST_ID_REUSED: "a different request already used this request_id; use a new one",
  PAGE_TOKEN_INVALID: "the page token does not belong to this request; start again without one",
  ETAG_MISMATCH: "the resource has changed since its etag was read; read it again",
  USER_NOT_FOUND: "there is no such user",
  EMAIL_TAKEN: "another user has this email address",
  USER_HAS_FUNDS: "the user still has money in a wallet",
  WALLET_NOT_FOUND: "there is no such wallet",
  WALLET_FROZEN: "the wallet is frozen",
  WALLET_CLOSED: "the wallet is closed",
  WALLET_NOT_FROZEN: "the wallet is not frozen",
  WALLET_NOT_CLOSED: "the wallet is not closed",
  WALLET_NOT_EMPTY: "the wallet has money or active holds; it can only be closed without either",
  ACCOUNT_NOT_FOUND: "there is no such account",
  CURRENCY_NOT_FOUND: "there is no such currency",
  CURRENCY_EXISTS: "the currency already exists",
  TRANSACTION_NOT_FOUND: "there is no such transaction",
  INSUFFICIENT_FUNDS: "the available balance is too low",
  CURRENCY_MISMATCH: "the amount is not in the wallet's currency",
  SAME_WALLET: "both sides are the same wallet; a transfer needs two",
  BALANCE_OVERFLOW: "the balance would exceed 64 bits of minor units",
  HOLD_NOT_FOUND: "there is no such hold",
  HOLD_ENDED: "the hold has ended",
  HOLD_EXPIRED: "the hold has expired",
  HOLD_EXCEEDED: "the amount exceeds what is left of the hold",
  HOLD_HAS_DESTINATION: "the hold names another destination wallet",
  EXPIRY_INVALID:
    "the expiry is invalid: a hold expires within 400 days, and an extension must be later than its present expiry",
  PRECONDITION_FAILED: "a precondition of the request is not met",
  NOT_REVERSIBLE: "the transaction cannot be reversed: it moved no money, or is itself a reversal",
  REVERSAL_EXCEEDED: "the amount exceeds what is left to reverse of the transaction",
  TOO_MANY_REVERSALS: "the transaction has the most partial reversals that are allowed",
  MAX_BALANCE_EXCEEDED: "the amount would exceed the account's maximum balance",
  VELOCITY_EXCEEDED: "the amount or count would exceed a velocity limit",
  LIMIT_BREACHED: "the present balance is outside the new limit",
  ACCOUNT_EXISTS: "the system account already exists",
  RATE_NOT_FOUND: "there is no rate for these currencies at this time",
  SAME_CURRENCY: "both currencies are the same; an exchange needs two",
  QUOTE_INVALID: "the quote does not belong to this exchange",
  QUOTE_EXPIRED: "the quote has expired; get a new one",
  EXCHANGE_AMOUNT_INVALID: "the exchanged amount would be 0 or out of range at this rate",
  METADATA_EXCEEDED: "the transaction would have more than 32 metadata pairs",
  BATCH_ABORTED: "another item of the atomic batch was refused",
  SCHEDULE_NOT_FOUND: "there is no such schedule",
  SCHEDULE_TIME_INVALID: "the schedule would never run, or would first run too far ahead",
  SCHEDULE_ENDED: "the schedule has ended",
  SCHEDULE_NOT_ACTIVE: "the schedule is already paused",
  SCHEDULE_NOT_PAUSED: "the schedule is not paused",
  ALERT_NOT_FOUND: "there is no such alert",
  TOO_MANY_ALERTS: "the wallet has the most alerts that are allowed; delete one first",
  OVERLOADED: "the service is at capacity; retry after the given delay",
  DATABASE_UNAVAILABLE: "the database is unavailable; nothing was written",
  OUTCOME_UNKNOWN: "the outcome is unknown; retry with the same request_id to learn it",
  CALLER_GONE: "the caller did not wait for the answer; nothing was written",
  SHUTTING_DOWN: "the service is shutting down",
  JOURNAL_BEHIND: "the database does not have this journal record yet",
  WATCHER_TOO_SLOW: "the client read no message of the stream for too long",
  INTERNAL: "internal error",
} as const satisfies Record<Reason, string>;

const TROUBLE = {
  unreachable: "cannot be reached",
  read_only: "is read-only",
  disk_full: "has a full disk",
  refusing: "refuses sessions",
} as const satisfies Record<DatabaseTrouble, string>;

/** Transient failures: RetryInfo names when to send the same request again. */
const RETRIED: readonly Reason[] = [
  "OVERLOADED",
  "DATABASE_UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "SHUTTING_DOWN",
  "JOURNAL_BEHIND",
];

/** The ids of a call, which its answer carries. */
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
/** The delay of RetryInfo for gRPC clients that retry automatically. Source: gRPC proposal A6. */
const PUSHBACK_KEY = "grpc-retry-pushback-ms";
const DOMAIN = "grey";

// Failures travel in trailers, of which some clients accept less than 8,192 bytes as HTTP/2 counts them. Base64 adds a third, and
// the message is there twice. These bounds leave room for the ids and all else.
const VIOLATIONS_MAX = 20;
const VIOLATIONS_BYTES_MAX = 3_200;
const FIELD_BYTES_MAX = 200;
const RULE_BYTES_MAX = 300;
const METADATA_BYTES_MAX = 2_048;
/** As encoded in grpc-message. */
const MESSAGE_BYTES_MAX = 1_024;

/** Creates the trailers of every answer. */
export function createTrailers({ requestId, traceId }: CallIds): Metadata {
  const trailers = new Metadata();
  trailers.set("grey-request-id", requestId);
  trailers.set("grey-trace-id", traceId);
  return trailers;
}

/** Returns the failure as a gRPC error according to AIP-193. */
export function toGrpcError(error: FailureError, ids: CallIds, retryAfterMs: number): GrpcError {
  const { code, message, details } = toStatus(error, ids, retryAfterMs);
  const metadata = createTrailers(ids);
  if (RETRIED.includes(error.failure.reason)) metadata.set(PUSHBACK_KEY, `${retryAfterMs}`);
  metadata.set(BINARY_KEY, Buffer.from(Status.encode({ code, message, details }).finish()));
  return { code, details: message, metadata };
}

/** Returns the failure as a google.rpc.Status with its details, as in the answer to an item of a batch or a stream. */
export function toStatus({ failure, details }: FailureError, ids: CallIds | undefined, retryAfterMs: number): Status {
  const extra: Record<string, string> = {};
  if (details.replayed === true) extra.replayed = "true";
  if (details.transactionId !== undefined) extra.transaction_id = details.transactionId;
  if (details.journalIndex !== undefined) extra.journal_index = details.journalIndex.toString();
  const info = { reason: failure.reason, domain: DOMAIN, metadata: fitMetadata({ ...toMetadata(failure), ...extra }) };
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
  // A lone surrogate cannot be percent-encoded.
  const message = toMessage(failure, details.currency).replace(/\p{Surrogate}/gu, "\ufffd");
  return {
    code: CODE[failure.reason],
    message: truncate(message, MESSAGE_BYTES_MAX, percentEncodedBytes),
    details: packed,
  };
}

/** Returns the status without the metadata of its reason, to save bytes. */
export function withoutMetadata({ code, message, details }: Status): Status {
  const bare = details.map((detail) => {
    if (detail.typeUrl !== ERROR_INFO) return detail;
    return pack("ErrorInfo", ErrorInfo.encode({ ...ErrorInfo.decode(detail.value), metadata: {} }).finish());
  });
  return { code, message, details: bare };
}

function toMessage(failure: Failure, currency: CurrencyUnit | undefined): string {
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

/** Encodes the leading violations that fit as a google.rpc.BadRequest. */
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
  // Concatenated encodings of a message merge into one message.
  return Buffer.concat(encoded);
}

/** Returns the metadata, with its longest values truncated if it is too long. */
function fitMetadata(metadata: Record<string, string>): Record<string, string> {
  const entries = Object.entries(metadata);
  const sizeOf = (valueBytesMax: number): number =>
    entries.reduce((sum, [name, value]) => sum + name.length + Math.min(valueBytesMax, Buffer.byteLength(value)), 0);
  let valueBytesMax = METADATA_BYTES_MAX;
  while (sizeOf(valueBytesMax) > METADATA_BYTES_MAX) valueBytesMax /= 2;
  return Object.fromEntries(entries.map(([name, value]) => [name, truncate(value, valueBytesMax)]));
}

/** Returns the failure's fields as ErrorInfo metadata: snake_case names, amounts as decimal strings, lists with commas. */
function toMetadata(failure: Failure): Record<string, string> {
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
