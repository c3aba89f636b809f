import type { Failure } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import { isInt64 } from "../base/money.js";
import { ACCOUNT_STATE, NORMAL_SIDE, type NormalSide } from "../entities/account.js";
import type { Book, Books } from "./books.js";
import type { Command, Entry } from "./transaction.js";

/** What becomes of a command: its two entries, debit first, or why it is refused. */
export type Decision = { readonly entries: readonly [Entry, Entry] } | { readonly failure: Failure };

/**
 * Decides one command against the books and, when it is posted, changes them.
 *
 * A refusal changes nothing. When several rules refuse, the first of this order answers: SAME_WALLET; then, debit
 * account before credit account in each, that they exist; that each has the currency, is not closed, is not frozen; then the funds; then
 * the range of int64.
 */
export function decide(books: Books, command: Command): Decision {
  const { debitAccountId, creditAccountId, amountMinor } = command;
  if (debitAccountId === creditAccountId) {
    // With a system account on the other side, what was named as the wallet is that account, and no wallet.
    const reason = command.system === null ? "SAME_WALLET" : "WALLET_NOT_FOUND";
    return refused({ reason, walletId: debitAccountId });
  }
  const debit = bookFor(books, command, debitAccountId);
  const credit = bookFor(books, command, creditAccountId);
  if (debit === undefined) return refused(notFound(command, debitAccountId));
  if (credit === undefined) return refused(notFound(command, creditAccountId));
  const failure =
    accountRefuses(debit, command) ??
    accountRefuses(credit, command) ??
    fundsRefuse(debit, command, NORMAL_SIDE.DEBIT) ??
    fundsRefuse(credit, command, NORMAL_SIDE.CREDIT);
  if (failure !== undefined) return refused(failure);
  const debited = enter(debit, amountMinor);
  const credited = enter(credit, -amountMinor);
  books.set(debitAccountId, debited);
  books.set(creditAccountId, credited);
  return { entries: [entryOf(debited, amountMinor), entryOf(credited, -amountMinor)] };
}

/** What can be spent: the posted balance less what is held for going out. */
export function availableMinor(
  book: Pick<Book, "normalSide" | "balanceMinor" | "pendingDebitsMinor" | "pendingCreditsMinor">,
): bigint {
  return (
    book.balanceMinor - (book.normalSide === NORMAL_SIDE.CREDIT ? book.pendingDebitsMinor : book.pendingCreditsMinor)
  );
}

function refused(failure: Failure): Decision {
  return { failure };
}

/** The account, if the command may speak of it: a wallet, or the system account that it names as one. */
function bookFor(books: Books, { system }: Command, accountId: Uuid): Book | undefined {
  const book = books.get(accountId);
  return book?.isWallet === true || system?.accountId === accountId ? book : undefined;
}

function notFound(command: Command, accountId: Uuid): Failure {
  const { system, currencyCode } = command;
  return system?.accountId === accountId
    ? { reason: "ACCOUNT_NOT_FOUND", systemAccount: system.name, currencyCode }
    : { reason: "WALLET_NOT_FOUND", walletId: accountId };
}

function accountRefuses(book: Book, command: Command): Failure | undefined {
  if (book.currencyCode !== command.currencyCode) {
    return {
      reason: "CURRENCY_MISMATCH",
      walletId: book.id,
      walletCurrencyCode: book.currencyCode,
      amountCurrencyCode: command.currencyCode,
    };
  }
  if (book.state === ACCOUNT_STATE.CLOSED) return { reason: "WALLET_CLOSED", walletId: book.id };
  if (book.state === ACCOUNT_STATE.FROZEN) return { reason: "WALLET_FROZEN", walletId: book.id };
  return undefined;
}

function fundsRefuse(book: Book, command: Command, side: NormalSide): Failure | undefined {
  const { amountMinor, currencyCode } = command;
  const after = book.balanceMinor + (side === book.normalSide ? amountMinor : -amountMinor);
  if (side === book.normalSide) {
    const max = book.maxBalanceMinor;
    return !isInt64(after) || (max !== null && after > max)
      ? { reason: "BALANCE_OVERFLOW", accountId: book.id }
      : undefined;
  }
  const min = book.minBalanceMinor;
  const available = availableMinor(book);
  if (min !== null && available - amountMinor < min) {
    return {
      reason: "INSUFFICIENT_FUNDS",
      walletId: book.id,
      currencyCode,
      availableMinorUnits: available - min,
      requiredMinorUnits: amountMinor,
    };
  }
  return isInt64(after) ? undefined : { reason: "BALANCE_OVERFLOW", accountId: book.id };
}

/** The account after an entry of this amount: a debit positive, a credit negative. */
function enter(book: Book, amountMinor: bigint): Book {
  const change = book.normalSide === NORMAL_SIDE.DEBIT ? amountMinor : -amountMinor;
  return { ...book, balanceMinor: book.balanceMinor + change, sequence: book.sequence + 1n };
}

function entryOf(book: Book, amountMinor: bigint): Entry {
  return {
    accountId: book.id,
    isWallet: book.isWallet,
    sequence: book.sequence,
    amountMinor,
    balanceAfterMinor: book.balanceMinor,
  };
}
