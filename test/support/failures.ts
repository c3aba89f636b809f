import type { Failure, Reason } from "../../src/base/failure.js";
import { AMOUNT_MAX, AMOUNT_MIN } from "../../src/base/money.js";

/** At least one failure of each reason, with and without its optional fields; a reason that is missing here does not compile. */
const BY_REASON: { readonly [R in Reason]: readonly Extract<Failure, { reason: R }>[] } = {
  INVALID_REQUEST: [
    { reason: "INVALID_REQUEST", violations: [] },
    {
      reason: "INVALID_REQUEST",
      violations: ["a", "b.c", "d[3]", "e"].map((field) => ({ field, rule: `${field} must be "ünïcode": 你好` })),
    },
  ],
  REQUEST_ID_REUSED: [{ reason: "REQUEST_ID_REUSED", requestId: "r1", differs: ["amount.minor_units", "description"] }],
  PAGE_TOKEN_INVALID: [{ reason: "PAGE_TOKEN_INVALID" }],
  ETAG_MISMATCH: [{ reason: "ETAG_MISMATCH", etag: "3-abcdef" }],
  USER_NOT_FOUND: [{ reason: "USER_NOT_FOUND" }, { reason: "USER_NOT_FOUND", userId: "u1" }],
  EMAIL_TAKEN: [{ reason: "EMAIL_TAKEN" }],
  USER_HAS_FUNDS: [{ reason: "USER_HAS_FUNDS", userId: "u1", walletId: "w1" }],
  WALLET_NOT_FOUND: [{ reason: "WALLET_NOT_FOUND", walletId: "w1" }],
  WALLET_FROZEN: [{ reason: "WALLET_FROZEN", walletId: "w1" }],
  WALLET_CLOSED: [{ reason: "WALLET_CLOSED", walletId: "w1" }],
  WALLET_NOT_FROZEN: [{ reason: "WALLET_NOT_FROZEN", walletId: "w1" }],
  WALLET_NOT_CLOSED: [{ reason: "WALLET_NOT_CLOSED", walletId: "w1" }],
  WALLET_NOT_EMPTY: [
    {
      reason: "WALLET_NOT_EMPTY",
      walletId: "w1",
      currencyCode: "USD",
      postedMinorUnits: AMOUNT_MAX,
      pendingOutgoingMinorUnits: 0n,
      pendingIncomingMinorUnits: 1n,
    },
  ],
  ACCOUNT_NOT_FOUND: [
    { reason: "ACCOUNT_NOT_FOUND", accountId: "a1" },
    { reason: "ACCOUNT_NOT_FOUND", systemAccount: "cash", currencyCode: "USD" },
  ],
  CURRENCY_NOT_FOUND: [{ reason: "CURRENCY_NOT_FOUND", currencyCode: "USD" }],
  CURRENCY_EXISTS: [{ reason: "CURRENCY_EXISTS", currencyCode: "USD" }],
  TRANSACTION_NOT_FOUND: [
    { reason: "TRANSACTION_NOT_FOUND", transactionId: "t1" },
    { reason: "TRANSACTION_NOT_FOUND", requestId: "r1" },
  ],
  INSUFFICIENT_FUNDS: [
    {
      reason: "INSUFFICIENT_FUNDS",
      walletId: "w1",
      currencyCode: "USD",
      availableMinorUnits: AMOUNT_MIN,
      requiredMinorUnits: AMOUNT_MAX,
    },
    {
      reason: "INSUFFICIENT_FUNDS",
      walletId: "w1",
      currencyCode: "USD",
      availableMinorUnits: 0n,
      requiredMinorUnits: 2n ** 53n + 1n,
      minBalanceMinorUnits: -500n,
    },
  ],
  MAX_BALANCE_EXCEEDED: [
    {
      reason: "MAX_BALANCE_EXCEEDED",
      accountId: "a1",
      currencyCode: "USD",
      maxBalanceMinorUnits: 1_000n,
      roomMinorUnits: 1n,
      requiredMinorUnits: 2n,
    },
  ],
  VELOCITY_EXCEEDED: [
    {
      reason: "VELOCITY_EXCEEDED",
      walletId: "w1",
      limit: "daily",
      measure: "amount",
      max: "100",
      used: "99",
      required: "2",
      windowSeconds: "86400",
      freesTime: "2026-11-23T00:00:00.000000Z",
    },
    {
      reason: "VELOCITY_EXCEEDED",
      walletId: "w1",
      limit: "hourly",
      measure: "count",
      max: "0",
      used: "0",
      required: "1",
      windowSeconds: "3600",
    },
  ],
  LIMIT_BREACHED: [
    {
      reason: "LIMIT_BREACHED",
      accountId: "a1",
      limit: "min_balance",
      currencyCode: "USD",
      limitMinorUnits: 0n,
      actualMinorUnits: -5n,
    },
  ],
  ACCOUNT_EXISTS: [{ reason: "ACCOUNT_EXISTS", systemAccount: "commission", currencyCode: "USD" }],
  RATE_NOT_FOUND: [{ reason: "RATE_NOT_FOUND", sourceCurrencyCode: "USD", targetCurrencyCode: "EUR" }],
  SAME_CURRENCY: [{ reason: "SAME_CURRENCY", currencyCode: "USD" }],
  QUOTE_INVALID: [{ reason: "QUOTE_INVALID" }],
  QUOTE_EXPIRED: [{ reason: "QUOTE_EXPIRED", expireTime: "2026-11-23T00:00:00.000000Z" }],
  EXCHANGE_AMOUNT_INVALID: [
    { reason: "EXCHANGE_AMOUNT_INVALID", sourceCurrencyCode: "USD", targetCurrencyCode: "EUR", rate: "0.0001" },
  ],
  CURRENCY_MISMATCH: [
    { reason: "CURRENCY_MISMATCH", walletId: "w1", walletCurrencyCode: "USD", amountCurrencyCode: "EUR" },
  ],
  SAME_WALLET: [{ reason: "SAME_WALLET", walletId: "w1" }],
  BALANCE_OVERFLOW: [{ reason: "BALANCE_OVERFLOW", accountId: "a1" }],
  HOLD_NOT_FOUND: [{ reason: "HOLD_NOT_FOUND", holdId: "h1" }],
  HOLD_ENDED: [{ reason: "HOLD_ENDED", holdId: "h1", holdState: "CAPTURED" }],
  HOLD_EXPIRED: [{ reason: "HOLD_EXPIRED", holdId: "h1" }],
  HOLD_EXCEEDED: [
    {
      reason: "HOLD_EXCEEDED",
      holdId: "h1",
      currencyCode: "USD",
      remainingMinorUnits: 0n,
      requiredMinorUnits: AMOUNT_MAX,
    },
  ],
  HOLD_HAS_DESTINATION: [{ reason: "HOLD_HAS_DESTINATION", holdId: "h1", walletId: "w1" }],
  EXPIRY_INVALID: [{ reason: "EXPIRY_INVALID" }],
  PRECONDITION_FAILED: [
    {
      reason: "PRECONDITION_FAILED",
      walletId: "w1",
      precondition: "expected_version",
      expected: "3",
      actual: "4",
    },
  ],
  NOT_REVERSIBLE: [{ reason: "NOT_REVERSIBLE", originalId: "t1" }],
  REVERSAL_EXCEEDED: [
    {
      reason: "REVERSAL_EXCEEDED",
      originalId: "t1",
      currencyCode: "USD",
      remainingMinorUnits: 0n,
      requiredMinorUnits: 1n,
    },
  ],
  METADATA_EXCEEDED: [{ reason: "METADATA_EXCEEDED", transactionId: "t1", pairs: 33 }],
  BATCH_ABORTED: [{ reason: "BATCH_ABORTED", culpritIndex: 3, culpritReason: "INSUFFICIENT_FUNDS" }],
  OVERLOADED: [{ reason: "OVERLOADED" }],
  DATABASE_UNAVAILABLE: [{ reason: "DATABASE_UNAVAILABLE" }],
  OUTCOME_UNKNOWN: [{ reason: "OUTCOME_UNKNOWN" }],
  CALLER_GONE: [{ reason: "CALLER_GONE" }],
  SHUTTING_DOWN: [{ reason: "SHUTTING_DOWN" }],
  INTERNAL: [{ reason: "INTERNAL" }],
};

export const FAILURES: readonly Failure[] = Object.values(BY_REASON).flat();
