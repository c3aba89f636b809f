import { ACCOUNT_STATE, NORMAL_SIDE } from "../../base/codes.js";
import type { Failure } from "../../base/failure.js";
import { isInt64 } from "../../base/money.js";
import { availableMinor, incomingMinor, type Account } from "../account/account.js";
import { addUse, checkVelocity, type Use } from "../account/velocity.js";
import type { LedgerState } from "./state.js";

// The rules that every movement obeys. Each returns its failure, or undefined when it allows the movement.

/** Checks that the account has the currency and is neither closed nor frozen. */
export function checkAccount(account: Account, currencyCode: string): Failure | undefined {
  if (account.currencyCode !== currencyCode) {
    return {
      reason: "CURRENCY_MISMATCH",
      walletId: account.id,
      walletCurrencyCode: account.currencyCode,
      amountCurrencyCode: currencyCode,
    };
  }
  if (account.state === ACCOUNT_STATE.CLOSED) return { reason: "WALLET_CLOSED", walletId: account.id };
  if (account.state === ACCOUNT_STATE.FROZEN) return { reason: "WALLET_FROZEN", walletId: account.id };
  return undefined;
}

/**
 * Checks the limits of the balance against a debit or credit, posted or pending: that enough is available, less what is
 * pending outgoing, or that the maximum balance allows it, with what is pending incoming.
 */
export function checkFunds(account: Account, amountMinor: bigint, side: keyof typeof NORMAL_SIDE): Failure | undefined {
  if (NORMAL_SIDE[side] === account.normalSide) {
    const before = account.balanceMinor + incomingMinor(account);
    const after = before + amountMinor;
    const max = account.maxBalanceMinor;
    if (max !== null && after > max) {
      return {
        reason: "MAX_BALANCE_EXCEEDED",
        accountId: account.id,
        currencyCode: account.currencyCode,
        maxBalanceMinorUnits: max,
        roomMinorUnits: max - before,
        requiredMinorUnits: amountMinor,
      };
    }
    return isInt64(after) ? undefined : { reason: "BALANCE_OVERFLOW", accountId: account.id };
  }
  const min = account.minBalanceMinor;
  const after = availableMinor(account) - amountMinor;
  if (min !== null && after < min) {
    return {
      reason: "INSUFFICIENT_FUNDS",
      walletId: account.id,
      currencyCode: account.currencyCode,
      availableMinorUnits: availableMinor(account) - min,
      requiredMinorUnits: amountMinor,
      ...(min !== 0n && { minBalanceMinorUnits: min }),
    };
  }
  return isInt64(after) ? undefined : { reason: "BALANCE_OVERFLOW", accountId: account.id };
}

/** Checks the velocity limits of the account against a use. */
export function checkUse(state: LedgerState, account: Account, use: Use): Failure | undefined {
  const { id, velocity, currencyCode } = account;
  const failure = velocity === null ? undefined : checkVelocity(id, velocity, use, state.now);
  return failure && { ...failure, currencyCode };
}

/** Returns the account with the use counted towards its velocity limits. */
export function countUse(state: LedgerState, account: Account, use: Use): Account {
  return account.velocity === null ? account : { ...account, velocity: addUse(account.velocity, use, state.now) };
}
