import { expect } from "chai";
import { InvalidArgumentError } from "commander";
import { readMinorUnits, readMoney, showAmount } from "../../src/cli/amount.js";
import { UsageError } from "../../src/cli/failure.js";
import { collectMetadata, readHostAndPort, readTime, wholeNumberReader } from "../../src/cli/options.js";

const CURRENCIES = new Map(
  [
    { code: "USD", exponent: 2 },
    { code: "JPY", exponent: 0 },
    { code: "ETH", exponent: 18 },
  ].map((currency) => [currency.code, currency]),
);

describe("the parsers of the command line", () => {
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
    it(`read "${text}" exactly`, () => {
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
    ["92233720368547758.08 USD", /is too large: at most 92233720368547758\.07 USD/],
    ["99999999999999999999999 USD", /is too large: at most/],
    ["-92233720368547758.09 USD", /is too far below 0/],
    ["", /a number and a currency/],
  ];
  for (const [text, message] of notAmounts) {
    it(`refuse "${text}" as an amount and round nothing`, () => {
      expect(() => readMoney(text, CURRENCIES)).to.throw(UsageError, message);
    });
  }

  it("apply the wallet's currency to a bare number", () => {
    expect(readMoney("5.5", CURRENCIES, "USD")).to.deep.equal({ currencyCode: "USD", minorUnits: 550n });
  });

  it("refuse an amount in another currency than the required one", () => {
    expect(readMinorUnits("-5.00", CURRENCIES, "USD")).to.equal(-500n);
    expect(readMinorUnits("-5.00 usd", CURRENCIES, "USD")).to.equal(-500n);
    for (const text of ["-5 JPY", "-5.00 USD"])
      expect(() => readMinorUnits(text, CURRENCIES, text.endsWith("USD") ? "JPY" : "USD")).to.throw(
        UsageError,
        /must be in (USD|JPY)$/,
      );
  });

  it("read a time with its offset to the microsecond, and refuse dates that do not exist", () => {
    const second = BigInt(Date.UTC(2028, 1, 29, 8) / 1_000);
    for (const [text, nanos] of [
      ["2028-02-29T08:00:00Z", 0],
      ["2028-02-29T09:30:00.5+01:30", 500_000_000],
      ["2028-02-28T23:00:00.000001-09:00", 1_000],
    ] as const)
      expect(readTime(text), text).to.deep.equal({ seconds: second, nanos });
    for (const text of [
      "2027-02-29T08:00:00Z",
      "2027-02-30T09:00:00+01:00",
      "2026-11-31T00:00:00Z",
      "2026-13-01T00:00:00Z",
      "2026-12-01T24:30:00Z",
      "1969-12-31T23:59:59Z",
      "2026-12-32",
      "2026-12-01T",
      "2026-12-01Z",
      "01.12.2026",
    ])
      expect(() => readTime(text), text).to.throw(InvalidArgumentError);
  });

  it("read a time without an offset as local time, and a date as its midnight", () => {
    const zone = process.env.TZ;
    process.env.TZ = "Asia/Kathmandu";
    try {
      for (const [text, utc] of [
        ["2026-12-01", Date.UTC(2026, 10, 30, 18, 15)],
        ["2026-12-01 10:00", Date.UTC(2026, 11, 1, 4, 15)],
        ["2026-12-01T10:00:05", Date.UTC(2026, 11, 1, 4, 15, 5)],
        ["2026-12-01T10:00:05Z", Date.UTC(2026, 11, 1, 10, 0, 5)],
      ] as const)
        expect(readTime(text).seconds, text).to.equal(BigInt(utc / 1_000));
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  it("show an amount of an unknown currency in minor units", () => {
    expect(showAmount(-5n, "USD", CURRENCIES)).to.equal("-0.05 USD");
    expect(showAmount(5n, "ABC", CURRENCIES)).to.equal("5 minor units of ABC");
  });

  it("keep everything after the first equals sign as the metadata value, even with odd keys", () => {
    const metadata = collectMetadata("__proto__=x", collectMetadata("a=b=c"));
    expect(Object.entries(metadata)).to.deep.equal([
      ["a", "b=c"],
      ["__proto__", "x"],
    ]);
  });

  it("refuse metadata without a key, without a value, and a repeated key", () => {
    expect(() => collectMetadata("=x")).to.throw(InvalidArgumentError);
    expect(() => collectMetadata("x")).to.throw(InvalidArgumentError);
    expect(() => collectMetadata("a=2", { a: "1" })).to.throw(InvalidArgumentError, "twice");
  });

  it("refuse numbers that are fractional or out of bounds", () => {
    expect(wholeNumberReader(1, 10)("10")).to.equal(10);
    for (const text of ["0", "11", "1.5", "1e1", "-1", "", "0x1"]) {
      expect(() => wholeNumberReader(1, 10)(text), text).to.throw(InvalidArgumentError);
    }
  });

  it("refuse an address that is not host:port", () => {
    expect(readHostAndPort("[::1]:50051")).to.equal("[::1]:50051");
    expect(() => readHostAndPort("localhost")).to.throw(InvalidArgumentError);
  });
});
