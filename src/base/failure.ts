import type { CurrencyUnit } from "./money.js";

/** One field of a request that breaks its rule. */
export interface FieldViolation {
  /** The field's path as in the contract, such as `amount.minor_units`. */
  readonly field: string;
  /** What the field must be, for people. */
  readonly rule: string;
}

/** Why a database cannot be used: no answer, no writes because it is a standby or its disk is full, or a refusal of its own. */
export type DatabaseTrouble = "unreachable" | "read_only" | "disk_full" | "refusing";

/**
 * The closed set of what can go wrong. The reasons, their meaning and their metadata are documented in
 * proto/grey/error/v1/error_reason.proto; src/rpc/status.ts gives each its gRPC code.
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
      /** Where it is not 0. */
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
      /** Where `expected` and `actual` are amounts. */
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

/** What goes with a failure. */
export interface FailureDetails {
  /** Whether it is the stored answer to an earlier request. */
  readonly replayed?: boolean;
  /** The rejected transaction that keeps it, and its place in the journal. */
  readonly transactionId?: string;
  readonly journalIndex?: bigint;
  /** The users, two at the most, whose data the refused request holds. */
  readonly userIds?: readonly string[];
  /** The currency of its amounts, which the message writes them in. */
  readonly currency?: CurrencyUnit | undefined;
  /** The error that it stands for, for the log. */
  readonly cause?: unknown;
}

/** The failure as an error, to leave a call by. */
export class FailureError extends Error {
  override readonly name = "FailureError";

  constructor(
    readonly failure: Failure,
    readonly details: FailureDetails = {},
  ) {
    super(failure.reason, { cause: details.cause });
  }
}

/** Leaves the call with this failure. */
export function fail(failure: Failure): never {
  throw new FailureError(failure);
}

/** Leaves the call because one field breaks a rule that the contract's annotations cannot state. */
export function invalid(field: string, rule: string): never {
  return fail({ reason: "INVALID_REQUEST", violations: [{ field, rule }] });
}

/** What a request may meet without using up its request_id: the caller sends the same request again. */
const PASSING = new Set<Reason>([
  "INVALID_REQUEST",
  "REQUEST_ID_REUSED",
  "PAGE_TOKEN_INVALID",
  // Holds and transactions are named by the service, so what is not found today is never found.
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

/** Whether a rule of business refused the request: an answer, kept for ever, as against a malformed or passing one. */
export function isRefusal(failure: Failure): boolean {
  return !PASSING.has(failure.reason);
}

/** The failure as JSON text, to be stored beside the request that it answers; amounts are decimal strings. */
export function encodeFailure(failure: Failure): string {
  return JSON.stringify(failure, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
}

/** The failure that encodeFailure() wrote. */
export function decodeFailure(json: string): Failure {
  return JSON.parse(json, (key, value: unknown) =>
    key.endsWith("MinorUnits") ? BigInt(value as string) : value,
  ) as Failure;
}
