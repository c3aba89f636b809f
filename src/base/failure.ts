import type { CurrencyUnit } from "./money.js";

/** One field of a request that breaks its rule. */
export interface FieldViolation {
  /** The field's path as in the contract, such as `amount.minor_units`. */
  readonly field: string;
  /** The rule, for people: what the field must be. */
  readonly rule: string;
}

/** The reason why the database cannot be used: it does not answer, is a standby, has a full disk, or refuses sessions. */
export type DatabaseTrouble = "unreachable" | "read_only" | "disk_full" | "refusing";

/**
 * The closed set of failures. proto/grey/error/v1/error_reason.proto documents the reasons, their meaning and their metadata;
 * src/rpc/status.ts maps each to a gRPC code and a message.
 */
export type Failure =
  | { readonly reason: "INVALID_REQUEST"; readonly violations: readonly FieldViolation[] }
  | { readonly reason: "REQUEST_ID_REUSED"; readonly requestId: string; readonly differs: readonly string[] }
  | { readonly reason: "PAGE_TOKEN_INVALID" }
  | { readonly reason: "ETAG_MISMATCH"; readonly etag: string }
  | { readonly reason: "USER_NOT_FOUND"; readonly userId?: string }
  | { readonly reason: "EMAIL_TAKEN" }
  | { readonly reason: "USER_HAS_FUNDS"; readonly userId: string; readonly walletId: string }
  | { readonly reason: "WALLET_NOT_FOUND"; readonly walletId: string }
  | { readonly reason: "WALLET_FROZEN"; readonly walletId: string }
  | { readonly reason: "WALLET_CLOSED"; readonly walletId: string }
  | { readonly reason: "WALLET_NOT_FROZEN"; readonly walletId: string }
  | { readonly reason: "WALLET_NOT_CLOSED"; readonly walletId: string }
  | {
      readonly reason: "WALLET_NOT_EMPTY";
      readonly walletId: string;
      readonly currencyCode: string;
      readonly postedMinorUnits: bigint;
      readonly pendingOutgoingMinorUnits: bigint;
      readonly pendingIncomingMinorUnits: bigint;
    }
  | {
      readonly reason: "ACCOUNT_NOT_FOUND";
      readonly accountId?: string;
      readonly systemAccount?: string;
      readonly currencyCode?: string;
    }
  | { readonly reason: "CURRENCY_NOT_FOUND"; readonly currencyCode: string }
  | { readonly reason: "CURRENCY_EXISTS"; readonly currencyCode: string }
  | { readonly reason: "TRANSACTION_NOT_FOUND"; readonly transactionId?: string; readonly requestId?: string }
  | {
      readonly reason: "INSUFFICIENT_FUNDS";
      readonly walletId: string;
      readonly currencyCode: string;
      readonly availableMinorUnits: bigint;
      readonly requiredMinorUnits: bigint;
      /** Present unless it is 0. */
      readonly minBalanceMinorUnits?: bigint;
    }
  | {
      readonly reason: "MAX_BALANCE_EXCEEDED";
      readonly accountId: string;
      readonly currencyCode: string;
      readonly maxBalanceMinorUnits: bigint;
      readonly roomMinorUnits: bigint;
      readonly requiredMinorUnits: bigint;
    }
  | {
      readonly reason: "VELOCITY_EXCEEDED";
      readonly walletId: string;
      readonly currencyCode: string;
      readonly limit: string;
      readonly measure: "amount" | "count";
      readonly max: string;
      readonly used: string;
      readonly required: string;
      readonly windowSeconds: string;
      readonly freesTime?: string;
    }
  | {
      readonly reason: "LIMIT_BREACHED";
      readonly accountId: string;
      readonly limit: "min_balance" | "max_balance";
      readonly currencyCode: string;
      readonly limitMinorUnits: bigint;
      readonly actualMinorUnits: bigint;
    }
  | { readonly reason: "ACCOUNT_EXISTS"; readonly systemAccount: string; readonly currencyCode: string }
  | { readonly reason: "RATE_NOT_FOUND"; readonly sourceCurrencyCode: string; readonly targetCurrencyCode: string }
  | { readonly reason: "SAME_CURRENCY"; readonly currencyCode: string }
  | { readonly reason: "QUOTE_INVALID" }
  | { readonly reason: "QUOTE_EXPIRED"; readonly expireTime: string }
  | {
      readonly reason: "EXCHANGE_AMOUNT_INVALID";
      readonly sourceCurrencyCode: string;
      readonly targetCurrencyCode: string;
      readonly rate: string;
    }
  | {
      readonly reason: "CURRENCY_MISMATCH";
      readonly walletId: string;
      readonly walletCurrencyCode: string;
      readonly amountCurrencyCode: string;
    }
  | { readonly reason: "SAME_WALLET"; readonly walletId: string }
  | { readonly reason: "BALANCE_OVERFLOW"; readonly accountId: string }
  | { readonly reason: "HOLD_NOT_FOUND"; readonly holdId: string }
  | { readonly reason: "HOLD_ENDED"; readonly holdId: string; readonly holdState: string }
  | { readonly reason: "HOLD_EXPIRED"; readonly holdId: string }
  | {
      readonly reason: "HOLD_EXCEEDED";
      readonly holdId: string;
      readonly currencyCode: string;
      readonly remainingMinorUnits: bigint;
      readonly requiredMinorUnits: bigint;
    }
  | { readonly reason: "HOLD_HAS_DESTINATION"; readonly holdId: string; readonly walletId: string }
  | { readonly reason: "EXPIRY_INVALID" }
  | {
      readonly reason: "PRECONDITION_FAILED";
      readonly walletId: string;
      readonly precondition: string;
      /** Present if `expected` and `actual` are amounts. */
      readonly currencyCode?: string;
      readonly expected: string;
      readonly actual: string;
    }
  | { readonly reason: "NOT_REVERSIBLE"; readonly originalId: string }
  | {
      readonly reason: "REVERSAL_EXCEEDED";
      readonly originalId: string;
      readonly currencyCode: string;
      readonly remainingMinorUnits: bigint;
      readonly requiredMinorUnits: bigint;
    }
  | { readonly reason: "TOO_MANY_REVERSALS"; readonly originalId: string; readonly max: string }
  | { readonly reason: "METADATA_EXCEEDED"; readonly transactionId: string; readonly pairs: number }
  | { readonly reason: "BATCH_ABORTED"; readonly culpritIndex: number; readonly culpritReason: string }
  | { readonly reason: "SCHEDULE_NOT_FOUND"; readonly scheduleId: string }
  | { readonly reason: "SCHEDULE_TIME_INVALID" }
  | { readonly reason: "SCHEDULE_ENDED"; readonly scheduleId: string; readonly scheduleState: string }
  | { readonly reason: "SCHEDULE_NOT_ACTIVE"; readonly scheduleId: string }
  | { readonly reason: "SCHEDULE_NOT_PAUSED"; readonly scheduleId: string }
  | { readonly reason: "ALERT_NOT_FOUND"; readonly alertId: string }
  | { readonly reason: "TOO_MANY_ALERTS"; readonly walletId: string; readonly max: string }
  | { readonly reason: "OVERLOADED" }
  | { readonly reason: "DATABASE_UNAVAILABLE"; readonly cause?: DatabaseTrouble }
  | { readonly reason: "OUTCOME_UNKNOWN" }
  | { readonly reason: "CALLER_GONE" }
  | { readonly reason: "SHUTTING_DOWN"; readonly resumeJournalIndex?: string }
  | { readonly reason: "JOURNAL_BEHIND"; readonly minJournalIndex: string; readonly journalSize: string }
  | { readonly reason: "WATCHER_TOO_SLOW"; readonly resumeJournalIndex?: string }
  | { readonly reason: "INTERNAL" };

export type Reason = Failure["reason"];

/** The circumstances of a failure. */
export interface FailureDetails {
  /** True for the stored answer to an earlier request. */
  readonly replayed?: boolean;
  /** The rejected transaction that records it, and its index in the journal. */
  readonly transactionId?: string;
  readonly journalIndex?: bigint;
  /** The users whose data the refused request contains, two at the most. */
  readonly userIds?: readonly string[];
  /** The currency in which the message shows its amounts. */
  readonly currency?: CurrencyUnit | undefined;
  /** The error that caused it, for the log. */
  readonly cause?: unknown;
}

/** A failure as an error that can be thrown. */
export class FailureError extends Error {
  override readonly name = "FailureError";

  constructor(
    readonly failure: Failure,
    readonly details: FailureDetails = {},
  ) {
    super(failure.reason, { cause: details.cause });
  }
}

/** Throws the failure. */
export function fail(failure: Failure): never {
  throw new FailureError(failure);
}

/** Throws INVALID_REQUEST for one field that breaks a rule which the contract's annotations cannot state. */
export function invalid(field: string, rule: string): never {
  return fail({ reason: "INVALID_REQUEST", violations: [{ field, rule }] });
}

/** The failures that do not use up the request_id: the caller may send the same request again. */
const UNRECORDED = new Set<Reason>([
  "INVALID_REQUEST",
  "REQUEST_ID_REUSED",
  "PAGE_TOKEN_INVALID",
  // The service makes the ids of holds and transactions, so an unknown one stays unknown.
  "HOLD_NOT_FOUND",
  "TRANSACTION_NOT_FOUND",
  "QUOTE_INVALID",
  "OVERLOADED",
  "DATABASE_UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "CALLER_GONE",
  "SHUTTING_DOWN",
  "JOURNAL_BEHIND",
  "WATCHER_TOO_SLOW",
  "INTERNAL",
]);

/** Returns true for a refusal by a business rule: an answer that is kept for ever, unlike malformed requests and transient failures. */
export function isRefusal(failure: Failure): boolean {
  return !UNRECORDED.has(failure.reason);
}

/** Writes the failure as JSON, to be stored with the request that it answers; amounts become decimal strings. */
export function encodeFailure(failure: Failure): string {
  return JSON.stringify(failure, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
}

/** Reads a failure that encodeFailure() wrote. */
export function decodeFailure(json: string): Failure {
  return JSON.parse(json, (key, value: unknown) =>
    key.endsWith("MinorUnits") ? BigInt(value as string) : value,
  ) as Failure;
}
