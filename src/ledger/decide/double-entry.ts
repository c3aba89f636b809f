import { assert } from "../../base/assert.js";

/** A debit (positive) or credit (negative) in minor units of a currency. */
interface Posting {
  readonly currencyCode: string;
  readonly amountMinor: bigint;
}

/** The debits and credits of a currency, both positive, in minor units. */
export interface CurrencySum {
  readonly currencyCode: string;
  debits: bigint;
  credits: bigint;
}

/** Sums debits and credits by currency, in the order in which the currencies appear. */
export function sumByCurrency(postings: Iterable<Posting>): CurrencySum[] {
  const sums = new Map<string, CurrencySum>();
  for (const { currencyCode, amountMinor } of postings) {
    let sum = sums.get(currencyCode);
    if (sum === undefined) {
      sum = { currencyCode, debits: 0n, credits: 0n };
      sums.set(currencyCode, sum);
    }
    if (amountMinor > 0n) sum.debits += amountMinor;
    else sum.credits -= amountMinor;
  }
  return [...sums.values()];
}

/** Asserts that the debits of each currency equal its credits: the law of double entry. */
export function assertBalanced(postings: readonly Posting[]): void {
  const [first, second] = postings;
  const isPair =
    postings.length === 2 &&
    first?.currencyCode === second?.currencyCode &&
    first?.amountMinor === -(second?.amountMinor ?? 0n);
  // Almost every transaction is one debit and one credit.
  if (isPair) return;
  for (const { currencyCode, debits, credits } of sumByCurrency(postings))
    assert(debits === credits, `debits are ${debits} and credits ${credits} minor units of ${currencyCode}`);
}
