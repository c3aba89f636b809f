import { expect } from "chai";
import * as fc from "fast-check";
import { ALERT_DIRECTION, type AlertDirection } from "../../src/entities/alert.js";
import { findCrossing } from "../../src/readers/crossing.js";

const { UP, DOWN, BOTH } = ALERT_DIRECTION;

describe("a threshold", () => {
  const cases: readonly (readonly [before: bigint, after: bigint, crossed: AlertDirection | undefined])[] = [
    [100n, 99n, DOWN],
    [99n, 100n, UP],
    [100n, 100n, undefined],
    [99n, 98n, undefined],
    [101n, 100n, undefined],
    [100n, 500n, undefined],
    [500n, -500n, DOWN],
    [-1n, 500n, UP],
  ];
  for (const [before, after, crossed] of cases) {
    it(`of 100 is ${crossed === undefined ? "not crossed" : crossed === UP ? "crossed upwards" : "crossed downwards"} from ${before} to ${after}`, () => {
      expect(findCrossing(before, after, 100n, BOTH)).to.equal(crossed);
      expect(findCrossing(before, after, 100n, UP)).to.equal(crossed === UP ? UP : undefined);
      expect(findCrossing(before, after, 100n, DOWN)).to.equal(crossed === DOWN ? DOWN : undefined);
    });
  }

  it("is crossed up and down in turn, whatever the balance does, and as often as a model counts", () => {
    const amount = fc.bigInt({ min: -20n, max: 20n });
    fc.assert(
      fc.property(fc.array(amount, { minLength: 2 }), amount, (balances, threshold) => {
        const steps = balances.slice(1).map((after, index) => [balances[index]!, after] as const);
        const crossings = steps.flatMap(([before, after]) => findCrossing(before, after, threshold, BOTH) ?? []);
        // The model: a flag that says whether the balance is there, and each time that it changes.
        const model: AlertDirection[] = [];
        let isThere = balances[0]! >= threshold;
        for (const balance of balances) {
          if (isThere && balance < threshold) model.push(DOWN);
          if (!isThere && balance >= threshold) model.push(UP);
          isThere = balance >= threshold;
        }
        expect(crossings).to.deep.equal(model);
        for (const wanted of [UP, DOWN]) {
          const some = steps.flatMap(([before, after]) => findCrossing(before, after, threshold, wanted) ?? []);
          expect(some).to.deep.equal(model.filter((one) => one === wanted));
        }
      }),
    );
  });
});
