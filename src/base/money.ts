/** The least and the greatest amount that an int64 holds, in minor units. */
export const AMOUNT_MIN = -(2n ** 63n);
export const AMOUNT_MAX = 2n ** 63n - 1n;

/** Returns true if the amount fits into int64. */
export function isInt64(amountMinor: bigint): boolean {
  return amountMinor >= AMOUNT_MIN && amountMinor <= AMOUNT_MAX;
}

/** The properties of a currency that formatting and parsing amounts need. */
export interface CurrencyUnit {
  readonly code: string;
  /** Decimal places of a minor unit: 0 to 18. */
  readonly exponent: number;
}

/** Formats the amount for people, exactly: `12.34 USD`. */
export function formatAmount(amountMinor: bigint, currency: CurrencyUnit): string {
  const sign = amountMinor < 0n ? "-" : "";
  const digits = (amountMinor < 0n ? -amountMinor : amountMinor).toString().padStart(currency.exponent + 1, "0");
  const whole = digits.slice(0, digits.length - currency.exponent);
  const fraction = digits.slice(digits.length - currency.exponent);
  return `${sign}${whole}${fraction === "" ? "" : `.${fraction}`} ${currency.code}`;
}

/**
 * Reads an amount as people write it: `12.34`, without grouping and without an exponent.
 * @returns the amount in minor units, or the rule that the text breaks
 */
export function parseAmount(text: string, currency: CurrencyUnit): bigint | { readonly rule: string } {
  const match = /^(-?)(\d{1,50})(?:\.(\d{1,50}))?$/.exec(text);
  if (match === null) return { rule: "must be a decimal number such as 12.34" };
  const [, sign = "", whole = "", fraction = ""] = match;
  if (fraction.length > currency.exponent) {
    return { rule: `${currency.code} has ${currency.exponent} decimal places, not ${fraction.length}` };
  }
  const amountMinor = BigInt(`${sign}${whole}${fraction.padEnd(currency.exponent, "0")}`);
  if (amountMinor > AMOUNT_MAX) return { rule: `is too large: at most ${formatAmount(AMOUNT_MAX, currency)}` };
  if (amountMinor < AMOUNT_MIN) return { rule: `is too far below 0: at least ${formatAmount(AMOUNT_MIN, currency)}` };
  return amountMinor;
}
