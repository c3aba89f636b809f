import { expect } from "chai";
import * as fc from "fast-check";
import { isInt64 } from "../../src/base/money.js";
import { convertAt } from "../../src/ledger/currency/convert.js";
import type { Rounding } from "../../src/ledger/command/command.js";

const unit = (exponent: number) => ({ code: "XXX", exponent });
const exponent = fc.integer({ min: 0, max: 18 });
const rate = fc
  .tuple(fc.bigInt({ min: 1n, max: 10n ** 12n }), fc.integer({ min: 0, max: 12 }))
  .map(([digits, places]) => {
    const text = digits.toString().padStart(places + 1, "0");
    return places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`;
  });
const rounding = fc.constantFrom<Rounding>("HALF_EVEN", "HALF_UP", "DOWN", "UP");

/** The rate as a fraction of minor units. */
function fractionOf(text: string, source: number, target: number): { numerator: bigint; denominator: bigint } {
  const [whole = "", fraction = ""] = text.split(".");
  return {
    numerator: BigInt(whole + fraction) * 10n ** BigInt(target),
    denominator: 10n ** BigInt(fraction.length + source),
  };
}

describe("the amounts of an exchange", () => {
  it("differ from the exact worth by less than a minor unit, to the side that the rounding says", () => {
    fc.assert(
      fc.property(rate, exponent, exponent, fc.bigInt({ min: 1n, max: 10n ** 15n }), rounding, (...asked) => {
        const [text, source, target, amount, how] = asked;
        const amounts = convertAt(text, { sourceMinor: amount }, unit(source), unit(target), how);
        const { numerator, denominator } = fractionOf(text, source, target);
        const exact = amount * numerator;
        if (amounts === undefined) {
          const nearest = exact / denominator;
          expect(nearest === 0n || !isInt64(nearest + 1n)).to.equal(true);
          return;
        }
        expect(amounts.sourceMinor).to.equal(amount);
        const error = amounts.targetMinor * denominator - exact;
        if (how === "DOWN") expect(error <= 0n && error > -denominator).to.equal(true);
        else if (how === "UP") expect(error >= 0n && error < denominator).to.equal(true);
        else expect(2n * (error < 0n ? -error : error) <= denominator).to.equal(true);
      }),
    );
  });

  it("are worked out backwards by the same rate", () => {
    fc.assert(
      fc.property(rate, exponent, exponent, fc.bigInt({ min: 1n, max: 10n ** 15n }), (text, source, target, amount) => {
        const amounts = convertAt(text, { targetMinor: amount }, unit(source), unit(target), "UP");
        if (amounts === undefined) return;
        const { numerator, denominator } = fractionOf(text, source, target);
        // What is paid is worth at least what is received, and a minor unit less would not be.
        expect(amounts.sourceMinor * numerator >= amount * denominator).to.equal(true);
        expect((amounts.sourceMinor - 1n) * numerator < amount * denominator).to.equal(true);
      }),
    );
  });

  for (const [half, even] of [
    [1n, 0n],
    [3n, 2n],
    [5n, 2n],
    [7n, 4n],
  ] as const) {
    it(`round ${half}/2 to ${even}, which is even`, () => {
      const amounts = convertAt("0.5", { sourceMinor: half }, unit(2), unit(2), "HALF_EVEN");
      expect(amounts?.targetMinor ?? 0n).to.equal(even);
    });
  }
});
