import { isInt64, type CurrencyUnit } from "../../base/money.js";
import type { Rounding } from "../command/command.js";

/** The amounts that are paid in one currency and received in another, in minor units. */
export interface Amounts {
  readonly sourceMinor: bigint;
  readonly targetMinor: bigint;
}

/** The amount that is given, of the two. */
export type GivenAmount = { readonly sourceMinor: bigint } | { readonly targetMinor: bigint };

/**
 * Works out the amount of an exchange that is not given.
 * @param rate whole units of the target's currency for one of the source's: a decimal number of more than 0
 * @returns undefined when the other amount comes to 0 or exceeds int64
 */
export function convertAt(
  rate: string,
  given: GivenAmount,
  source: CurrencyUnit,
  target: CurrencyUnit,
  rounding: Rounding,
): Amounts | undefined {
  const [whole = "", fraction = ""] = rate.split(".");
  // Minor units of the target for one minor unit of the source, as a fraction.
  const numerator = BigInt(`${whole}${fraction}`) * 10n ** BigInt(target.exponent);
  const denominator = 10n ** BigInt(fraction.length + source.exponent);
  const amounts =
    "sourceMinor" in given
      ? { ...given, targetMinor: divide(given.sourceMinor * numerator, denominator, rounding) }
      : { ...given, sourceMinor: divide(given.targetMinor * denominator, numerator, rounding) };
  const { sourceMinor, targetMinor } = amounts;
  return sourceMinor > 0n && targetMinor > 0n && isInt64(sourceMinor) && isInt64(targetMinor) ? amounts : undefined;
}

/** Divides two numbers that are not negative, and rounds the quotient to a whole number. */
function divide(numerator: bigint, denominator: bigint, rounding: Rounding): bigint {
  const quotient = numerator / denominator;
  const rest = numerator % denominator;
  return quotient + (isRoundedUp(quotient, rest, denominator, rounding) ? 1n : 0n);
}

function isRoundedUp(quotient: bigint, rest: bigint, denominator: bigint, rounding: Rounding): boolean {
  switch (rounding) {
    case "DOWN":
      return false;
    case "UP":
      return rest > 0n;
    case "HALF_UP":
      return 2n * rest >= denominator;
    case "HALF_EVEN":
      return 2n * rest > denominator || (2n * rest === denominator && quotient % 2n === 1n);
  }
}
