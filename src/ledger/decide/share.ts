import { assertPresent } from "../../base/assert.js";
import type { Leg } from "../command/command.js";

/** A part of a whole: `by` more than `before`. */
export interface Part {
  readonly before: bigint;
  readonly by: bigint;
  readonly of: bigint;
}

/**
 * Shares a part of the whole out among the legs, in minor units: in proportion, rounded so that the debits of each currency
 * equal its credits, that no leg takes more than it has, and that the last part takes exactly what is left.
 * @param taken what the parts before have taken of each leg
 */
export function shareOut(legs: readonly Leg[], taken: readonly bigint[], part: Part): bigint[] {
  const shares = legs.map(() => 0n);
  for (const side of groupBySide(legs)) {
    const left = side.map((index) => magnitude(legs[index]) - (taken[index] ?? 0n));
    // Rounded up from the whole each time, so that the sum never falls from part to part, ends at the whole, and no part
    // takes something of one currency for nothing of another.
    const total = side.reduce((sum, index) => sum + magnitude(legs[index]), 0n);
    const due = roundUpShare(total, part.before + part.by, part.of) - roundUpShare(total, part.before, part.of);
    const available = left.reduce((sum, one) => sum + one, 0n);
    let seen = 0n;
    side.forEach((index, position) => {
      const before = available === 0n ? 0n : (seen * due) / available;
      seen += left[position] ?? 0n;
      shares[index] = (available === 0n ? 0n : (seen * due) / available) - before;
    });
  }
  return shares;
}

/** Returns the part of the total that `part` is of the whole, rounded up. */
function roundUpShare(total: bigint, part: bigint, of: bigint): bigint {
  return (total * part + of - 1n) / of;
}

/** Groups the indexes of the legs by currency and side. */
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
