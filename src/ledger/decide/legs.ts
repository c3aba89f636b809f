import { present } from "../../base/assert.js";
import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import { toIso } from "../../base/time.js";
import type { Book, Books } from "../account/books.js";
import { accountRefuses, changed, counting, entryOf, fundsRefuse, useRefuses, type Kept } from "./movement.js";
import type { CompoundCommand, Entry, Leg, Movement } from "../transaction/transaction.js";
import type { Use } from "../account/velocity.js";

/**
 * Decides a movement with many legs against the books and, when it is posted, changes them.
 *
 * When several rules refuse, the first of this order answers: that what it asks for could be worked out, in time; then, leg
 * by leg in each, that the accounts exist; that each has the currency, is not closed, is not frozen; then, account by account,
 * the funds or the room for what all its legs come to; then the limits by velocity; then the range of int64.
 */
export function decideCompound(books: Books, command: CompoundCommand): Kept {
  const { legs, refusal, validUntil } = command;
  const failure =
    refusal ??
    (validUntil !== null && books.now >= validUntil
      ? ({ reason: "QUOTE_EXPIRED", expireTime: toIso(validUntil) } as const)
      : undefined) ??
    firstOf(legs, (leg) => notFound(books, command, leg));
  return failure === undefined ? decideLegs(books, command, legs) : { movement: command, failure };
}

/** Decides legs between accounts that there are. */
export function decideLegs(books: Books, movement: Movement, legs: readonly Leg[]): Kept {
  const sums = sumsOf(legs);
  const failure =
    firstOf(legs, (leg) => accountRefuses(bookOf(books, leg.accountId), leg.currencyCode)) ??
    firstOf(sums, ({ accountId, debits, credits }) => {
      const net = debits - credits;
      if (net === 0n) return undefined;
      const book = bookOf(books, accountId);
      return net > 0n ? fundsRefuse(book, net, "DEBIT") : fundsRefuse(book, -net, "CREDIT");
    }) ??
    firstOf(sums, (sum) => {
      const book = bookOf(books, sum.accountId);
      return firstOf(usesOf(movement, sum), (use) => useRefuses(books, book, use));
    });
  if (failure !== undefined) return { movement, failure };
  const after = new Map(sums.map((sum) => [sum.accountId, counted(books, movement, sum)]));
  const entries: Entry[] = [];
  for (const { accountId, amountMinor } of legs) {
    const book = changed(present(after.get(accountId), "an account of a leg"), { debit: amountMinor, isEntered: true });
    // What the legs come to is in range; on the way there a balance may leave it.
    if (!isInt64(book.balanceMinor)) return { movement, failure: { reason: "BALANCE_OVERFLOW", accountId } };
    after.set(accountId, book);
    entries.push(entryOf(book, amountMinor));
  }
  for (const [accountId, book] of after) books.set(accountId, book);
  return { movement, entries, hold: null };
}

/** What the legs of one account come to, in minor units. */
interface Sum {
  readonly accountId: Uuid;
  debits: bigint;
  credits: bigint;
}

/** In the order in which the accounts appear first. */
function sumsOf(legs: readonly Leg[]): readonly Sum[] {
  const sums = new Map<Uuid, Sum>();
  for (const { accountId, amountMinor } of legs) {
    let sum = sums.get(accountId);
    if (sum === undefined) {
      sum = { accountId, debits: 0n, credits: 0n };
      sums.set(accountId, sum);
    }
    if (amountMinor > 0n) sum.debits += amountMinor;
    else sum.credits -= amountMinor;
  }
  return [...sums.values()];
}

function usesOf({ kind }: Movement, { debits, credits }: Sum): readonly Use[] {
  return [
    ...(debits > 0n ? [{ direction: "OUTGOING", kind, amountMinor: debits, count: 1n } as const] : []),
    ...(credits > 0n ? [{ direction: "INCOMING", kind, amountMinor: credits, count: 1n } as const] : []),
  ];
}

function counted(books: Books, movement: Movement, sum: Sum): Book {
  return usesOf(movement, sum).reduce((book, use) => counting(books, book, use), bookOf(books, sum.accountId));
}

function bookOf(books: Books, id: Uuid): Book {
  return present(books.get(id), "an account of a leg");
}

function notFound(books: Books, { system }: CompoundCommand, { accountId, currencyCode }: Leg): Failure | undefined {
  const book = books.get(accountId);
  const systemAccount = system.get(accountId);
  if (systemAccount === undefined)
    return book?.isWallet === true ? undefined : { reason: "WALLET_NOT_FOUND", walletId: accountId };
  return book === undefined ? { reason: "ACCOUNT_NOT_FOUND", systemAccount, currencyCode } : undefined;
}

function firstOf<T>(all: readonly T[], refuses: (one: T) => Failure | undefined): Failure | undefined {
  for (const one of all) {
    const failure = refuses(one);
    if (failure !== undefined) return failure;
  }
  return undefined;
}
