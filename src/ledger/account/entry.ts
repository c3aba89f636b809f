import type { Uuid } from "../../base/ids.js";
import type { Account } from "./account.js";

/** One row of an account's history: a debit, a credit, or a change of what is pending. */
export interface Entry {
  readonly accountId: Uuid;
  readonly currencyCode: string;
  /** True for a wallet's account, false for a system account. */
  readonly isWallet: boolean;
  /** The entry's number in its account, from 1. */
  readonly sequence: bigint;
  /** Minor units; a debit is positive, a credit negative; 0 when only what is pending changes. */
  readonly amountMinor: bigint;
  /** The account's balance after it, in minor units on the normal side. */
  readonly balanceAfterMinor: bigint;
  /** The account's pending sums after it. */
  readonly pendingDebitsAfterMinor: bigint;
  readonly pendingCreditsAfterMinor: bigint;
}

/** Returns the entry of this amount that leads to this state of the account. */
export function toEntry(account: Account, amountMinor: bigint): Entry {
  return {
    accountId: account.id,
    currencyCode: account.currencyCode,
    isWallet: account.isWallet,
    sequence: account.sequence,
    amountMinor,
    balanceAfterMinor: account.balanceMinor,
    pendingDebitsAfterMinor: account.pendingDebitsMinor,
    pendingCreditsAfterMinor: account.pendingCreditsMinor,
  };
}
