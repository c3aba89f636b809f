import { expect } from "chai";
import * as fc from "fast-check";
import { AMOUNT_MAX, AMOUNT_MIN, formatAmount, isInt64, parseAmount } from "../../src/base/money.js";

const USD = { code: "USD", exponent: 2 };
const JPY = { code: "JPY", exponent: 0 };
const KWD = { code: "KWD", exponent: 3 };
const FINE = { code: "FINE", exponent: 18 };

const int64 = fc.bigInt({ min: AMOUNT_MIN, max: AMOUNT_MAX });
const currency = fc.integer({ min: 0, max: 18 }).map((exponent) => ({ code: "XYZ", exponent }));

/** The text of an amount without its currency. */
function digitsOf(amountMinor: bigint, unit: typeof USD): string {
  return formatAmount(amountMinor, unit).replace(` ${unit.code}`, "");
}

describe("an amount for people", () => {
  const shown = [
    { minor: 0n, unit: USD, text: "0.00 USD" },
    { minor: 1n, unit: USD, text: "0.01 USD" },
    { minor: -1n, unit: USD, text: "-0.01 USD" },
    { minor: 99n, unit: USD, text: "0.99 USD" },
    { minor: 100n, unit: USD, text: "1.00 USD" },
    { minor: 1234n, unit: USD, text: "12.34 USD" },
    { minor: -100n, unit: USD, text: "-1.00 USD" },
    { minor: 10_000n, unit: JPY, text: "10000 JPY" },
    { minor: 0n, unit: JPY, text: "0 JPY" },
    { minor: 10_000n, unit: KWD, text: "10.000 KWD" },
    { minor: 2n ** 53n + 1n, unit: USD, text: "90071992547409.93 USD" },
    { minor: AMOUNT_MAX, unit: USD, text: "92233720368547758.07 USD" },
    { minor: AMOUNT_MIN, unit: JPY, text: "-9223372036854775808 JPY" },
    { minor: AMOUNT_MAX, unit: FINE, text: "9.223372036854775807 FINE" },
    { minor: -1n, unit: FINE, text: "-0.000000000000000001 FINE" },
  ];
  for (const { minor, unit, text } of shown) {
    it(`shows ${minor} minor units with exponent ${unit.exponent} as ${text}`, () => {
      expect(formatAmount(minor, unit)).to.equal(text);
    });
  }

  const read = [
    { text: "12.34", unit: USD, minor: 1234n },
    { text: "12.3", unit: USD, minor: 1230n },
    { text: "12", unit: USD, minor: 1200n },
    { text: "-12.34", unit: USD, minor: -1234n },
    { text: "-0", unit: USD, minor: 0n },
    { text: "007", unit: JPY, minor: 7n },
    { text: "0.001", unit: KWD, minor: 1n },
    { text: "90071992547409.93", unit: USD, minor: 2n ** 53n + 1n },
    { text: "92233720368547758.07", unit: USD, minor: AMOUNT_MAX },
    { text: "-92233720368547758.08", unit: USD, minor: AMOUNT_MIN },
    { text: "9.223372036854775807", unit: FINE, minor: AMOUNT_MAX },
  ];
  for (const { text, unit, minor } of read) {
    it(`reads ${text} with exponent ${unit.exponent} as ${minor} minor units`, () => {
      expect(parseAmount(text, unit)).to.equal(minor);
    });
  }

  const refused = [
    { text: "12.345", unit: USD, rule: /2 decimal places, not 3/ },
    { text: "12.0", unit: JPY, rule: /0 decimal places, not 1/ },
    { text: "92233720368547758.08", unit: USD, rule: /is too large: at most 92233720368547758\.07 USD/ },
    { text: "-92233720368547758.09", unit: USD, rule: /is too far below 0/ },
    { text: "9.223372036854775808", unit: FINE, rule: /is too large/ },
    { text: "9999999999999999999", unit: JPY, rule: /is too large/ },
    ...[
      "",
      " ",
      "1,000.00",
      "1e3",
      "1.",
      ".5",
      "+1",
      "--1",
      "0x10",
      " 1",
      "1 ",
      "1\n",
      "١٢",
      "1.2.3",
      "NaN",
      "Infinity",
      "1_000",
    ].map((text) => ({ text, unit: USD, rule: /decimal number/ })),
  ];
  for (const { text, unit, rule } of refused) {
    it(`refuses ${JSON.stringify(text)} with exponent ${unit.exponent}`, () => {
      const result = parseAmount(text, unit);
      expect(result).to.have.property("rule").that.matches(rule);
    });
  }

  it("reads back as the same amount, for every int64 and every exponent", () => {
    fc.assert(
      fc.property(int64, currency, (amountMinor, unit) => {
        expect(parseAmount(digitsOf(amountMinor, unit), unit)).to.equal(amountMinor);
      }),
    );
  });

  it("is exact: whole units and decimal places make up the minor units, digit by digit", () => {
    fc.assert(
      fc.property(int64, currency, (amountMinor, unit) => {
        const text = digitsOf(amountMinor, unit);
        const [whole = "", fraction = ""] = text.replace("-", "").split(".");
        expect(fraction).to.have.lengthOf(unit.exponent);
        const size = BigInt(whole) * 10n ** BigInt(unit.exponent) + BigInt(fraction === "" ? "0" : fraction);
        expect(text.startsWith("-") ? -size : size).to.equal(amountMinor);
      }),
    );
  });

  it("is read as an int64 or refused, whatever the text", () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^-?\d{1,20}(\.\d{0,20})?$/));
    fc.assert(
      fc.property(text, currency, (amount, unit) => {
        const result = parseAmount(amount, unit);
        return typeof result === "bigint" ? isInt64(result) : result.rule !== "";
      }),
    );
  });
});

describe("int64", () => {
  for (const amount of [0n, AMOUNT_MIN, AMOUNT_MAX, 2n ** 53n]) {
    it(`holds ${amount}`, () => expect(isInt64(amount)).to.equal(true));
  }
  for (const amount of [AMOUNT_MIN - 1n, AMOUNT_MAX + 1n, 2n ** 64n]) {
    it(`does not hold ${amount}`, () => expect(isInt64(amount)).to.equal(false));
  }
});
