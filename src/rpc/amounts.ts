import type { Failure } from "../base/failure.js";
import { formatAmount, type CurrencyUnit } from "../base/money.js";

/** A lookup of a currency by its code; undefined when there is none, or the database does not answer. */
export type FindCurrency = (code: string) => Promise<CurrencyUnit | undefined>;

/** Returns the currency code of the failure's amounts; undefined when it has none. */
export function findCurrencyCode(failure: Failure): string | undefined {
  return "currencyCode" in failure && amountsIn(failure).length > 0 ? failure.currencyCode : undefined;
}

/**
 * Formats the failure's amounts for people: `702.66 USD available, 1000.00 USD required`; empty when it has none.
 * @param currency undefined if it was not found: the amounts are shown in minor units
 */
export function formatAmounts(failure: Failure, currency: CurrencyUnit | undefined): string {
  if (failure.reason === "VELOCITY_EXCEEDED" && failure.measure === "count")
    return `${failure.max} transactions allowed, ${failure.used} used`;
  const code = findCurrencyCode(failure) ?? "";
  const format = (amount: bigint): string =>
    currency === undefined ? `${amount} minor units of ${code}` : formatAmount(amount, currency);
  return amountsIn(failure)
    .map(([name, amount]) => `${format(amount)} ${name}`)
    .join(", ");
}

function amountsIn(failure: Failure): [name: string, amount: bigint][] {
  if (failure.reason === "VELOCITY_EXCEEDED" && failure.measure === "amount") {
    const { max, used, required } = failure;
    return [
      ["allowed", BigInt(max)],
      ["used", BigInt(used)],
      ["required", BigInt(required)],
    ];
  }
  if (failure.reason === "PRECONDITION_FAILED" && failure.currencyCode !== undefined) {
    return [
      [
        failure.precondition === "min_balance_after" ? "required at least" : "allowed at most",
        BigInt(failure.expected),
      ],
      ["would remain", BigInt(failure.actual)],
    ];
  }
  return Object.entries(failure).flatMap(([field, value]) =>
    typeof value === "bigint" && field.endsWith(SUFFIX) ? [[toWords(field.slice(0, -SUFFIX.length)), value]] : [],
  );
}

const SUFFIX = "MinorUnits";

const WORDS: Readonly<Record<string, string>> = {
  minBalance: "minimum",
  maxBalance: "maximum",
  remaining: "left",
  room: "more allowed",
  pendingOutgoing: "pending outgoing",
  pendingIncoming: "pending incoming",
};

function toWords(field: string): string {
  return WORDS[field] ?? field;
}
