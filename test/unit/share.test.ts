import { expect } from "chai";
import * as fc from "fast-check";
import { shareOut } from "../../src/ledger/decide/share.js";
import type { Leg } from "../../src/ledger/command/command.js";

/** Legs that sum to zero in each currency: some debits, and credits of the same sum. */
const legs: fc.Arbitrary<Leg[]> = fc
  .array(
    fc.record({
      currencyCode: fc.constantFrom("USD", "EUR", "JPY"),
      debits: fc.array(fc.bigInt({ min: 1n, max: 10n ** 15n }), { minLength: 1, maxLength: 5 }),
      cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 3 },
  )
  .map((currencies) =>
    currencies.flatMap(({ currencyCode, debits, cuts }, index) => {
      const total = debits.reduce((sum, one) => sum + one, 0n);
      const credits: bigint[] = [];
      let remaining = total;
      for (const cut of cuts) {
        const part = BigInt(Math.floor(Number(remaining) * cut));
        if (part <= 0n || part >= remaining) continue;
        credits.push(part);
        remaining -= part;
      }
      const of = (amountMinor: bigint, leg: number): Leg => ({
        accountId: `${currencyCode}-${index}-${leg}`,
        currencyCode,
        amountMinor,
      });
      return [...debits.map(of), ...[...credits, remaining].map((amount, leg) => of(-amount, debits.length + leg))];
    }),
  );

describe("a partial amount shared among legs", () => {
  it("sums to zero in each currency, never exceeds a leg, and adds up to exactly the whole", () => {
    fc.assert(
      fc.property(
        legs,
        fc.bigInt({ min: 1n, max: 10n ** 6n }),
        fc.array(fc.bigInt({ min: 1n, max: 10n ** 6n }), { maxLength: 8 }),
        (all, whole, amounts) => {
          let before = 0n;
          let taken = all.map(() => 0n);
          for (const amount of [...amounts, whole]) {
            const by = amount > whole - before ? whole - before : amount;
            const shares = shareOut(all, taken, { before, by, of: whole });
            const sums = new Map<string, bigint>();
            shares.forEach((share, index) => {
              const { currencyCode, amountMinor } = all[index]!;
              expect(share >= 0n).to.equal(true);
              sums.set(currencyCode, (sums.get(currencyCode) ?? 0n) + (amountMinor > 0n ? share : -share));
            });
            expect([...sums.values()].every((sum) => sum === 0n)).to.equal(true);
            taken = taken.map((one, index) => one + shares[index]!);
            before += by;
          }
          expect(taken).to.deep.equal(all.map(({ amountMinor }) => (amountMinor < 0n ? -amountMinor : amountMinor)));
        },
      ),
    );
  });

  it("is proportional", () => {
    const all = [100n, -67n, -33n].map((amountMinor, leg) => ({
      accountId: `${leg}`,
      currencyCode: "USD",
      amountMinor,
    }));
    expect(shareOut(all, [0n, 0n, 0n], { before: 0n, by: 50n, of: 100n })).to.deep.equal([50n, 33n, 17n]);
  });
});
