import { expect } from "chai";
import * as fc from "fast-check";
import { AssertionError } from "../../src/base/assert.js";
import { assertBalanced, sumByCurrency } from "../../src/ledger/decide/double-entry.js";

const posting = fc.record({
  currencyCode: fc.constantFrom("USD", "EUR", "JPY"),
  amountMinor: fc.bigInt({ min: -1_000n, max: 1_000n }),
});

describe("double entry", () => {
  it("holds exactly when the debits and credits of each currency are equal", () => {
    fc.assert(
      fc.property(fc.array(posting, { maxLength: 8 }), (postings) => {
        const isBalanced = ["USD", "EUR", "JPY"].every(
          (code) => postings.reduce((sum, one) => (one.currencyCode === code ? sum + one.amountMinor : sum), 0n) === 0n,
        );
        if (isBalanced) assertBalanced(postings);
        else expect(() => assertBalanced(postings)).to.throw(AssertionError);
      }),
    );
  });

  it("holds for any postings once each has its counterpart", () => {
    fc.assert(
      fc.property(fc.array(posting, { maxLength: 8 }), (postings) => {
        assertBalanced([...postings, ...postings.map((one) => ({ ...one, amountMinor: -one.amountMinor }))]);
      }),
    );
  });

  it("does not hold for a debit and a credit of different currencies", () => {
    const postings = [
      { currencyCode: "USD", amountMinor: 5n },
      { currencyCode: "EUR", amountMinor: -5n },
    ];
    expect(() => assertBalanced(postings)).to.throw(AssertionError, "debits are 5 and credits 0 minor units of USD");
  });

  it("sums debits and credits by currency, in the order in which currencies appear", () => {
    const postings = [
      { currencyCode: "USD", amountMinor: 5n },
      { currencyCode: "EUR", amountMinor: -3n },
      { currencyCode: "USD", amountMinor: -2n },
    ];
    expect(sumByCurrency(postings)).to.deep.equal([
      { currencyCode: "USD", debits: 5n, credits: 2n },
      { currencyCode: "EUR", debits: 0n, credits: 3n },
    ]);
  });
});
