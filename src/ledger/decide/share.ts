import { assertPresent } from "../../base/assert.js";
import type { Leg } from "../transaction/transaction.js";

/** A part of a whole: so much more than before. */
export interface Part {
  readonly before: bigint;
  readonly by: bigint;
  readonly of: bigint;
}

/**
 * How much of each leg belongs to a part of the whole, in minor units: in proportion, rounded so that the debits of each
 * currency equal its credits, that no leg is ever given more than it has, and that the last part takes exactly what is left.
 * @param taken how much of each leg the parts before have taken
 */
export function shareOut(legs: readonly Leg[], taken: readonly bigint[], part: Part): bigint[] {
  const shares = legs.map(() => 0n);
  for (const side of groupBySide(legs)) {
    const left = side.map((index) => magnitude(legs[index]) - (taken[index] ?? 0n));
    // Rounded up from the whole each time, so that it never falls from part to part, ends at the whole, and no part takes
    // something of one currency for nothing of another.
    const total = side.reduce((sum, index) => sum + magnitude(legs[index]), 0n);
    const wanted = roundUpShare(total, part.before + part.by, part.of) - roundUpShare(total, part.before, part.of);
    const available = left.reduce((sum, one) => sum + one, 0n);
    let seen = 0n;
    side.forEach((index, position) => {
      const before = available === 0n ? 0n : (seen * wanted) / available;
      seen += left[position] ?? 0n;
      shares[index] = (available === 0n ? 0n : (seen * wanted) / available) - before;
    });
  }
  return shares;
}

/** So much of the total as `part` is of the whole, rounded up. */
function roundUpShare(total: bigint, part: bigint, of: bigint): bigint {
  return (total * part + of - 1n) / of;
}

/** The indexes of the legs of each currency and side. */
function groupBySide(legs: readonly Leg[]): readonly (readonly number[])[] {
  const sides = new Map<string, number[]>();
  legs.forEach(({ currencyCode, amountMinor }, index) => {
    const key = `${currencyCode}/${amountMinor > 0n ? "debit" : "credit"}`;
    const side = sides.get(key) ?? [];
    sides.set(key, side);
    side.push(index);
  });
  return [...sides.values()];
}

function magnitude(leg: Leg | undefined): bigint {
  const { amountMinor } = assertPresent(leg, "a leg");
  return amountMinor > 0n ? amountMinor : -amountMinor;
}
