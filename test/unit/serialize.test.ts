import { expect } from "chai";
import * as fc from "fast-check";
import { Money } from "../../generated/grey/type/v1/money.js";
import { serialize } from "../../runtime/serialize.js";

describe("writing messages", () => {
  it("gives the bytes of each, whatever was written before it, or could not be", () => {
    const text = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constant("x".repeat(100_000)),
      fc.constant("é".repeat(40_000)),
    );
    const money = fc.record({ currencyCode: text, minorUnits: fc.bigInt(-(2n ** 65n), 2n ** 65n) });
    let failed = 0;
    fc.assert(
      fc.property(fc.array(money, { minLength: 1, maxLength: 10 }), (messages) => {
        const written = messages.map((message) => {
          try {
            return serialize(Money, message);
          } catch {
            failed += 1;
            return undefined;
          }
        });
        written.forEach((bytes, index) => {
          if (bytes === undefined) expect(() => Money.encode(messages[index]!).finish()).to.throw();
          else expect(bytes.equals(Money.encode(messages[index]!).finish())).to.equal(true);
        });
      }),
    );
    expect(failed).to.be.greaterThan(10);
  });
});
