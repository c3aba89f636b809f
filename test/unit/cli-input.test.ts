import { expect } from "chai";
import { InvalidArgumentError } from "commander";
import { readMoney, showAmount } from "../../src/cli/amount.js";
import { UsageError } from "../../src/cli/failure.js";
import { addMetadata, hostAndPort, wholeNumber } from "../../src/cli/options.js";

const CURRENCIES = new Map(
  [
    { code: "USD", exponent: 2 },
    { code: "JPY", exponent: 0 },
    { code: "ETH", exponent: 18 },
  ].map((currency) => [currency.code, currency]),
);

describe("what the command reads", () => {
  const amounts: [text: string, currencyCode: string, minorUnits: bigint][] = [
    ["12.34 USD", "USD", 1234n],
    ["12.3 usd", "USD", 1230n],
    ["  7   USD ", "USD", 700n],
    ["0.07 USD", "USD", 7n],
    ["500 JPY", "JPY", 500n],
    ["1.000000000000000001 ETH", "ETH", 1_000_000_000_000_000_001n],
    ["92233720368547758.07 USD", "USD", 2n ** 63n - 1n],
  ];
  for (const [text, currencyCode, minorUnits] of amounts) {
    it(`reads "${text}" exactly`, () => {
      expect(readMoney(text, CURRENCIES)).to.deep.equal({ currencyCode, minorUnits });
    });
  }

  const notAmounts: [text: string, message: RegExp][] = [
    ["12.345 USD", /2 decimal places, not 3/],
    ["1.0 JPY", /0 decimal places, not 1/],
    ["12.34", /a number and a currency/],
    ["USD 12.34", /no currency 12.34/],
    ["12 34 USD", /a number and a currency/],
    ["1e3 USD", /decimal number/],
    ["1,000.00 USD", /decimal number/],
    ["12.34 XXX", /no currency XXX/],
    ["92233720368547758.08 USD", /64 bits/],
    ["", /a number and a currency/],
  ];
  for (const [text, message] of notAmounts) {
    it(`refuses "${text}" as an amount and rounds nothing`, () => {
      expect(() => readMoney(text, CURRENCIES)).to.throw(UsageError, message);
    });
  }

  it("takes the wallet's currency where only a number is typed", () => {
    expect(readMoney("5.5", CURRENCIES, "USD")).to.deep.equal({ currencyCode: "USD", minorUnits: 550n });
  });

  it("shows an amount of an unknown currency in minor units", () => {
    expect(showAmount(-5n, "USD", CURRENCIES)).to.equal("-0.05 USD");
    expect(showAmount(5n, "ABC", CURRENCIES)).to.equal("5 minor units of ABC");
  });

  it("keeps all of a metadata value after the first equals sign, also under odd keys", () => {
    const metadata = addMetadata("__proto__=x", addMetadata("a=b=c"));
    expect(Object.entries(metadata)).to.deep.equal([
      ["a", "b=c"],
      ["__proto__", "x"],
    ]);
  });

  it("refuses metadata without a key, without a value, and a key given twice", () => {
    expect(() => addMetadata("=x")).to.throw(InvalidArgumentError);
    expect(() => addMetadata("x")).to.throw(InvalidArgumentError);
    expect(() => addMetadata("a=2", { a: "1" })).to.throw(InvalidArgumentError, "twice");
  });

  it("refuses numbers that are not whole or out of bounds", () => {
    expect(wholeNumber(1, 10)("10")).to.equal(10);
    for (const text of ["0", "11", "1.5", "1e1", "-1", "", "0x1"]) {
      expect(() => wholeNumber(1, 10)(text), text).to.throw(InvalidArgumentError);
    }
  });

  it("refuses an address that is not host:port", () => {
    expect(hostAndPort("[::1]:50051")).to.equal("[::1]:50051");
    expect(() => hostAndPort("localhost")).to.throw(InvalidArgumentError);
  });
});
