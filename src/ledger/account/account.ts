import { NORMAL_SIDE, type AccountState, type NormalSide } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import type { VelocityLimit } from "./velocity.js";

/** An account as posting sees it. A decision replaces it and never changes it. */
export interface Account {
  readonly id: Uuid;
  readonly isWallet: boolean;
  readonly currencyCode: string;
  readonly normalSide: NormalSide;
  readonly state: AccountState;
  /** Minor units on the normal side. */
  readonly balanceMinor: bigint;
  readonly pendingDebitsMinor: bigint;
  readonly pendingCreditsMinor: bigint;
  /** null: no limit. */
  readonly minBalanceMinor: bigint | null;
  readonly maxBalanceMinor: bigint | null;
  /** null: none. */
  readonly velocity: readonly VelocityLimit[] | null;
  /** The number of its entries. */
  readonly sequence: bigint;
}

/** Returns what can be spent: the posted balance less what is pending outgoing. */
export function availableMinor(
  account: Pick<Account, "normalSide" | "balanceMinor" | "pendingDebitsMinor" | "pendingCreditsMinor">,
): bigint {
  const { normalSide, balanceMinor, pendingDebitsMinor, pendingCreditsMinor } = account;
  return balanceMinor - (normalSide === NORMAL_SIDE.CREDIT ? pendingDebitsMinor : pendingCreditsMinor);
}

/** Returns what holds for this account will bring. */
export function incomingMinor({ normalSide, pendingDebitsMinor, pendingCreditsMinor }: Account): bigint {
  return normalSide === NORMAL_SIDE.CREDIT ? pendingCreditsMinor : pendingDebitsMinor;
}

/** A change of an account, in minor units: of its balance on the debit side, and of what is pending. */
export interface Change {
  readonly debit?: bigint;
  readonly pendingDebits?: bigint;
  readonly pendingCredits?: bigint;
}

/** Returns the account after the change, without an entry of it. */
export function applyChange(account: Account, change: Change): Account {
  const { debit = 0n, pendingDebits = 0n, pendingCredits = 0n } = change;
  return {
    ...account,
    balanceMinor: account.balanceMinor + (account.normalSide === NORMAL_SIDE.DEBIT ? debit : -debit),
    pendingDebitsMinor: account.pendingDebitsMinor + pendingDebits,
    pendingCreditsMinor: account.pendingCreditsMinor + pendingCredits,
  };
}

/** Returns the account after an entry of the change. */
export function enterChange(account: Account, change: Change): Account {
  return { ...applyChange(account, change), sequence: account.sequence + 1n };
}

/** Returns the account after an entry of a debit, or of a credit when the amount is negative. */
export function enterDebit(account: Account, amountMinor: bigint): Account {
  const change = account.normalSide === NORMAL_SIDE.DEBIT ? amountMinor : -amountMinor;
  return { ...account, balanceMinor: account.balanceMinor + change, sequence: account.sequence + 1n };
}
