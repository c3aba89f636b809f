import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import { ACCOUNT_STATE, NORMAL_SIDE } from "../../entities/account.js";
import type { Book, Books } from "../account/books.js";
import type { Hold } from "./hold.js";
import type { Entry, Movement, MovementCommand } from "../transaction/transaction.js";
import { used, velocityRefuses, type Use } from "../account/velocity.js";

/**
 * What becomes of a command, and the movement that it comes to: posted with its entries, debit side first, and with the
 * hold as it leaves it; or why it is refused. What is refused unkept leaves no trace, and its request id free.
 */
export type Decision = Kept | { readonly unkept: Failure };

/** What is recorded of a decision. */
export type Kept =
  | { readonly movement: Movement; readonly entries: readonly Entry[]; readonly hold: Hold | null }
  | { readonly movement: Movement; readonly failure: Failure };

/**
 * Decides a movement between two accounts against the books and, when it is posted, changes them.
 *
 * When several rules refuse, the first of this order answers: SAME_WALLET; then, debit account before credit account in
 * each, that they exist; that each has the currency, is not closed, is not frozen; then the funds and the room; then the
 * limits by velocity.
 */
export function decideMovement(books: Books, command: MovementCommand): Kept {
  const { debitAccountId, creditAccountId } = command;
  const refused = (failure: Failure): Kept => ({ movement: command, failure });
  if (debitAccountId === creditAccountId) {
    // With a system account on the other side, what was named as the wallet is that account, and no wallet.
    const reason = command.system === null ? "SAME_WALLET" : "WALLET_NOT_FOUND";
    return refused({ reason, walletId: debitAccountId });
  }
  const debit = bookFor(books, command, debitAccountId);
  if (debit === undefined) return refused(notFound(command, debitAccountId));
  const credit = bookFor(books, command, creditAccountId);
  if (credit === undefined) return refused(notFound(command, creditAccountId));
  return decideBetween(books, command.isUpTo ? upToAvailable(debit, command) : command, debit, credit);
}

/** The movement of what can be spent, up to the amount; when that is nothing, of the amount, which is then refused. */
function upToAvailable(debit: Book, command: MovementCommand): Movement {
  if (debit.minBalanceMinor === null) return command;
  const available = availableMinor(debit) - debit.minBalanceMinor;
  return available <= 0n || available >= command.amountMinor ? command : { ...command, amountMinor: available };
}

/** Decides a movement from one account, which it debits, to another: whether they take part, then funds, then room. */
export function decideBetween(books: Books, movement: Movement, debit: Book, credit: Book): Kept {
  const { amountMinor, currencyCode } = movement;
  const failure =
    accountRefuses(debit, currencyCode) ??
    accountRefuses(credit, currencyCode) ??
    fundsRefuse(debit, amountMinor, "DEBIT") ??
    fundsRefuse(credit, amountMinor, "CREDIT") ??
    usesRefuse(books, debit, credit, movement);
  if (failure !== undefined) return { movement, failure };
  const debited = enter(using(books, debit, movement, "OUTGOING"), amountMinor);
  const credited = enter(using(books, credit, movement, "INCOMING"), -amountMinor);
  books.set(debit.id, debited);
  books.set(credit.id, credited);
  return {
    movement,
    entries: [entryOf(debited, amountMinor), entryOf(credited, -amountMinor)],
    hold: null,
  };
}

/** What can be spent: the posted balance less what is held for going out. */
export function availableMinor(
  book: Pick<Book, "normalSide" | "balanceMinor" | "pendingDebitsMinor" | "pendingCreditsMinor">,
): bigint {
  return (
    book.balanceMinor - (book.normalSide === NORMAL_SIDE.CREDIT ? book.pendingDebitsMinor : book.pendingCreditsMinor)
  );
}

/** The account, if the command may speak of it: a wallet, or the system account that it names as one. */
function bookFor(books: Books, { system }: MovementCommand, accountId: Uuid): Book | undefined {
  const book = books.get(accountId);
  return book?.isWallet === true || system?.accountId === accountId ? book : undefined;
}

function notFound(command: MovementCommand, accountId: Uuid): Failure {
  const { system, currencyCode } = command;
  return system?.accountId === accountId
    ? { reason: "ACCOUNT_NOT_FOUND", systemAccount: system.name, currencyCode }
    : { reason: "WALLET_NOT_FOUND", walletId: accountId };
}

/** Why the account takes part in nothing, or not in this currency. */
export function accountRefuses(book: Book, currencyCode: string): Failure | undefined {
  if (book.currencyCode !== currencyCode) {
    return {
      reason: "CURRENCY_MISMATCH",
      walletId: book.id,
      walletCurrencyCode: book.currencyCode,
      amountCurrencyCode: currencyCode,
    };
  }
  if (book.state === ACCOUNT_STATE.CLOSED) return { reason: "WALLET_CLOSED", walletId: book.id };
  if (book.state === ACCOUNT_STATE.FROZEN) return { reason: "WALLET_FROZEN", walletId: book.id };
  return undefined;
}

/**
 * Why the account cannot be debited or credited by so much, or have it pending: it lacks funds, counting what is pending
 * for going out, or room, counting what is pending for coming in.
 */
export function fundsRefuse(book: Book, amountMinor: bigint, side: keyof typeof NORMAL_SIDE): Failure | undefined {
  if (NORMAL_SIDE[side] === book.normalSide) {
    const before = book.balanceMinor + incomingMinor(book);
    const after = before + amountMinor;
    const max = book.maxBalanceMinor;
    if (max !== null && after > max) {
      return {
        reason: "MAX_BALANCE_EXCEEDED",
        accountId: book.id,
        currencyCode: book.currencyCode,
        maxBalanceMinorUnits: max,
        roomMinorUnits: max - before,
        requiredMinorUnits: amountMinor,
      };
    }
    return isInt64(after) ? undefined : { reason: "BALANCE_OVERFLOW", accountId: book.id };
  }
  const min = book.minBalanceMinor;
  const after = availableMinor(book) - amountMinor;
  if (min !== null && after < min) {
    return {
      reason: "INSUFFICIENT_FUNDS",
      walletId: book.id,
      currencyCode: book.currencyCode,
      availableMinorUnits: availableMinor(book) - min,
      requiredMinorUnits: amountMinor,
      ...(min !== 0n && { minBalanceMinorUnits: min }),
    };
  }
  return isInt64(after) ? undefined : { reason: "BALANCE_OVERFLOW", accountId: book.id };
}

/** Why a limit by velocity refuses the use of the account. */
export function useRefuses(books: Books, { id, velocity, currencyCode }: Book, use: Use): Failure | undefined {
  const failure = velocity === null ? undefined : velocityRefuses(id, velocity, use, books.now);
  return failure && { ...failure, currencyCode };
}

/** The account with the use counted. */
export function counting(books: Books, book: Book, use: Use): Book {
  return book.velocity === null ? book : { ...book, velocity: used(book.velocity, use, books.now) };
}

function usesRefuse(books: Books, debit: Book, credit: Book, movement: Movement): Failure | undefined {
  if (debit.velocity === null && credit.velocity === null) return undefined;
  return (
    useRefuses(books, debit, useOf(movement, "OUTGOING")) ?? useRefuses(books, credit, useOf(movement, "INCOMING"))
  );
}

function using(books: Books, book: Book, movement: Movement, direction: Use["direction"]): Book {
  return book.velocity === null ? book : counting(books, book, useOf(movement, direction));
}

function useOf({ kind, amountMinor }: Movement, direction: Use["direction"]): Use {
  return { direction, kind, amountMinor, count: 1n };
}

/** What holds of others will bring. */
export function incomingMinor({ normalSide, pendingDebitsMinor, pendingCreditsMinor }: Book): bigint {
  return normalSide === NORMAL_SIDE.CREDIT ? pendingCreditsMinor : pendingDebitsMinor;
}

/** The account after an entry of this amount: a debit positive, a credit negative. */
function enter(book: Book, amountMinor: bigint): Book {
  const change = book.normalSide === NORMAL_SIDE.DEBIT ? amountMinor : -amountMinor;
  return { ...book, balanceMinor: book.balanceMinor + change, sequence: book.sequence + 1n };
}

/** The account after a change of its balance, by minor units on the debit side, or of what is pending; with `isEntered` it counts. */
export function changed(
  book: Book,
  change: {
    readonly debit?: bigint;
    readonly pendingDebits?: bigint;
    readonly pendingCredits?: bigint;
    readonly isEntered?: boolean;
  },
): Book {
  const { debit = 0n, pendingDebits = 0n, pendingCredits = 0n, isEntered = false } = change;
  return {
    ...book,
    balanceMinor: book.balanceMinor + (book.normalSide === NORMAL_SIDE.DEBIT ? debit : -debit),
    pendingDebitsMinor: book.pendingDebitsMinor + pendingDebits,
    pendingCreditsMinor: book.pendingCreditsMinor + pendingCredits,
    sequence: book.sequence + (isEntered ? 1n : 0n),
  };
}

/** The row of the account's history that leads to this state of it. */
export function entryOf(book: Book, amountMinor: bigint): Entry {
  return {
    accountId: book.id,
    currencyCode: book.currencyCode,
    isWallet: book.isWallet,
    sequence: book.sequence,
    amountMinor,
    balanceAfterMinor: book.balanceMinor,
    pendingDebitsAfterMinor: book.pendingDebitsMinor,
    pendingCreditsAfterMinor: book.pendingCreditsMinor,
  };
}
