import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import { ACCOUNT_STATE, NORMAL_SIDE } from "../../base/codes.js";
import type { Account, LedgerState } from "../account/books.js";
import type { Hold } from "./hold.js";
import type { Entry, Movement, MovementCommand } from "../transaction/transaction.js";
import { addUse, checkVelocity, type Use } from "../account/velocity.js";

/**
 * What becomes of a command, and the movement that it comes to: posted with its entries, debit side first, and with the
 * hold as it leaves it; or why it is refused. What is refused unkept leaves no trace, and its request id free.
 */
export type Decision = RecordedDecision | { readonly unkept: Failure };

/** What is recorded of a decision. */
export type RecordedDecision =
  | { readonly movement: Movement; readonly entries: readonly Entry[]; readonly hold: Hold | null }
  | { readonly movement: Movement; readonly failure: Failure };

/**
 * Decides a movement between two accounts against the books and, when it is posted, changes them.
 *
 * When several rules refuse, the first of this order answers: SAME_WALLET; then, debit account before credit account in
 * each, that they exist; that each has the currency, is not closed, is not frozen; then the funds and the room; then the
 * limits by velocity.
 */
export function decideMovement(state: LedgerState, command: MovementCommand): RecordedDecision {
  const { debitAccountId, creditAccountId } = command;
  const refused = (failure: Failure): RecordedDecision => ({ movement: command, failure });
  if (debitAccountId === creditAccountId) {
    // With a system account on the other side, what was named as the wallet is that account, and no wallet.
    const reason = command.system === null ? "SAME_WALLET" : "WALLET_NOT_FOUND";
    return refused({ reason, walletId: debitAccountId });
  }
  const debit = findAccount(state, command, debitAccountId);
  if (debit === undefined) return refused(toNotFound(command, debitAccountId));
  const credit = findAccount(state, command, creditAccountId);
  if (credit === undefined) return refused(toNotFound(command, creditAccountId));
  return decideBetween(state, command.isUpTo ? limitToAvailable(debit, command) : command, debit, credit);
}

/** The movement of what can be spent, up to the amount; when that is nothing, of the amount, which is then refused. */
function limitToAvailable(debit: Account, command: MovementCommand): Movement {
  if (debit.minBalanceMinor === null) return command;
  const available = availableMinor(debit) - debit.minBalanceMinor;
  return available <= 0n || available >= command.amountMinor ? command : { ...command, amountMinor: available };
}

/** Decides a movement from one account, which it debits, to another: whether they take part, then funds, then room. */
export function decideBetween(
  state: LedgerState,
  movement: Movement,
  debit: Account,
  credit: Account,
): RecordedDecision {
  const { amountMinor, currencyCode } = movement;
  const failure =
    checkAccount(debit, currencyCode) ??
    checkAccount(credit, currencyCode) ??
    checkFunds(debit, amountMinor, "DEBIT") ??
    checkFunds(credit, amountMinor, "CREDIT") ??
    checkUses(state, debit, credit, movement);
  if (failure !== undefined) return { movement, failure };
  const debited = enter(countMovement(state, debit, movement, "OUTGOING"), amountMinor);
  const credited = enter(countMovement(state, credit, movement, "INCOMING"), -amountMinor);
  state.setAccount(debit.id, debited);
  state.setAccount(credit.id, credited);
  return {
    movement,
    entries: [toEntry(debited, amountMinor), toEntry(credited, -amountMinor)],
    hold: null,
  };
}

/** What can be spent: the posted balance less what is held for going out. */
export function availableMinor(
  account: Pick<Account, "normalSide" | "balanceMinor" | "pendingDebitsMinor" | "pendingCreditsMinor">,
): bigint {
  return (
    account.balanceMinor -
    (account.normalSide === NORMAL_SIDE.CREDIT ? account.pendingDebitsMinor : account.pendingCreditsMinor)
  );
}

/** The account, if the command may speak of it: a wallet, or the system account that it names as one. */
function findAccount(state: LedgerState, { system }: MovementCommand, accountId: Uuid): Account | undefined {
  const account = state.getAccount(accountId);
  return account?.isWallet === true || system?.accountId === accountId ? account : undefined;
}

function toNotFound(command: MovementCommand, accountId: Uuid): Failure {
  const { system, currencyCode } = command;
  return system?.accountId === accountId
    ? { reason: "ACCOUNT_NOT_FOUND", systemAccount: system.name, currencyCode }
    : { reason: "WALLET_NOT_FOUND", walletId: accountId };
}

/** Why the account takes part in nothing, or not in this currency. */
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
 * Why the account cannot be debited or credited by so much, or have it pending: it lacks funds, counting what is pending
 * for going out, or room, counting what is pending for coming in.
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

/** Why a limit by velocity refuses the use of the account. */
export function checkUse(state: LedgerState, { id, velocity, currencyCode }: Account, use: Use): Failure | undefined {
  const failure = velocity === null ? undefined : checkVelocity(id, velocity, use, state.now);
  return failure && { ...failure, currencyCode };
}

/** The account with the use counted. */
export function countUse(state: LedgerState, account: Account, use: Use): Account {
  return account.velocity === null ? account : { ...account, velocity: addUse(account.velocity, use, state.now) };
}

function checkUses(state: LedgerState, debit: Account, credit: Account, movement: Movement): Failure | undefined {
  if (debit.velocity === null && credit.velocity === null) return undefined;
  return checkUse(state, debit, toUse(movement, "OUTGOING")) ?? checkUse(state, credit, toUse(movement, "INCOMING"));
}

function countMovement(state: LedgerState, account: Account, movement: Movement, direction: Use["direction"]): Account {
  return account.velocity === null ? account : countUse(state, account, toUse(movement, direction));
}

function toUse({ kind, amountMinor }: Movement, direction: Use["direction"]): Use {
  return { direction, kind, amountMinor, count: 1n };
}

/** What holds of others will bring. */
export function incomingMinor({ normalSide, pendingDebitsMinor, pendingCreditsMinor }: Account): bigint {
  return normalSide === NORMAL_SIDE.CREDIT ? pendingCreditsMinor : pendingDebitsMinor;
}

/** The account after an entry of this amount: a debit positive, a credit negative. */
function enter(account: Account, amountMinor: bigint): Account {
  const change = account.normalSide === NORMAL_SIDE.DEBIT ? amountMinor : -amountMinor;
  return { ...account, balanceMinor: account.balanceMinor + change, sequence: account.sequence + 1n };
}

/** The account after a change of its balance, by minor units on the debit side, or of what is pending; with `isEntered` it counts. */
export function applyChange(
  account: Account,
  change: {
    readonly debit?: bigint;
    readonly pendingDebits?: bigint;
    readonly pendingCredits?: bigint;
    readonly isEntered?: boolean;
  },
): Account {
  const { debit = 0n, pendingDebits = 0n, pendingCredits = 0n, isEntered = false } = change;
  return {
    ...account,
    balanceMinor: account.balanceMinor + (account.normalSide === NORMAL_SIDE.DEBIT ? debit : -debit),
    pendingDebitsMinor: account.pendingDebitsMinor + pendingDebits,
    pendingCreditsMinor: account.pendingCreditsMinor + pendingCredits,
    sequence: account.sequence + (isEntered ? 1n : 0n),
  };
}

/** The row of the account's history that leads to this state of it. */
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
