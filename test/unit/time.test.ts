import { expect } from "chai";
import * as fc from "fast-check";
import { fromDate, fromMicros, microsDown, microsUp, toIso } from "../../src/base/time.js";

/** The contract's range of times: 0001-01-01 to 9999-12-31, in microseconds since 1970. */
const MICROS_MIN = -62_135_596_800_000_000n;
const MICROS_MAX = 253_402_300_799_999_999n;
const micros = fc.bigInt({ min: MICROS_MIN, max: MICROS_MAX });

describe("a point in time", () => {
  const parts = [
    { seconds: 0n, nanos: 0, micros: 0n },
    { seconds: 1n, nanos: 500_000_000, micros: 1_500_000n },
    { seconds: 0n, nanos: 999, micros: 0n },
    { seconds: 0n, nanos: 1_999, micros: 1n },
    { seconds: -1n, nanos: 999_999_000, micros: -1n },
    { seconds: 253_402_300_799n, nanos: 999_999_999, micros: MICROS_MAX },
  ];
  for (const { seconds, nanos, micros: expected } of parts) {
    it(`of ${seconds} s and ${nanos} ns is ${expected} µs: finer parts are cut off`, () => {
      expect(microsDown({ seconds, nanos })).to.equal(expected);
    });
  }

  it("that is a bound compares with every record as it was given, down to the nanosecond", () => {
    const nanosOf = ({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }) =>
      seconds * 1_000_000_000n + BigInt(nanos);
    const near = fc.tuple(micros, fc.integer({ min: -1_500, max: 1_500 })).map(([record, distance]) => {
      const bound = record * 1_000n + BigInt(distance);
      const nanos = ((bound % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
      return { record, bound: { seconds: (bound - nanos) / 1_000_000_000n, nanos: Number(nanos) } };
    });
    fc.assert(
      fc.property(
        near.filter(({ bound }) => nanosOf(bound) <= MICROS_MAX * 1_000n),
        ({ record, bound }) => {
          expect(record >= microsUp(bound)).to.equal(record * 1_000n >= nanosOf(bound));
          expect(record < microsUp(bound)).to.equal(record * 1_000n < nanosOf(bound));
          expect(record <= microsDown(bound)).to.equal(record * 1_000n <= nanosOf(bound));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it("that is rounded up stays within what the contract can write", () => {
    expect(microsUp({ seconds: 253_402_300_799n, nanos: 999_999_999 })).to.equal(MICROS_MAX);
  });

  it("survives the way into the contract's form and back, before 1970 too", () => {
    fc.assert(
      fc.property(micros, (time) => {
        const timestamp = fromMicros(time);
        expect(timestamp.nanos).to.be.within(0, 999_999_999);
        expect(microsDown(timestamp)).to.equal(time);
      }),
    );
  });

  it("of a date is exact to the millisecond", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date(-62_135_596_800_000), max: new Date(253_402_300_799_999), noInvalidDate: true }),
        (date) => {
          expect(microsDown(fromDate(date))).to.equal(BigInt(date.getTime()) * 1_000n);
        },
      ),
    );
  });

  const written = [
    { micros: 0n, iso: "1970-01-01T00:00:00.000000Z" },
    { micros: 1n, iso: "1970-01-01T00:00:00.000001Z" },
    { micros: 1_700_000_000_123_456n, iso: "2023-11-14T22:13:20.123456Z" },
    { micros: MICROS_MAX, iso: "9999-12-31T23:59:59.999999Z" },
  ];
  for (const { micros: time, iso } of written) {
    it(`${time} µs is written for PostgreSQL as ${iso}`, () => expect(toIso(time)).to.equal(iso));
  }

  it("is written for PostgreSQL without losing a microsecond, from 1970 on", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: MICROS_MAX }), (time) => {
        const [, toMilli = "", micro = ""] = /^(.{23})(\d{3})Z$/.exec(toIso(time)) ?? [];
        expect(BigInt(Date.parse(`${toMilli}Z`)) * 1_000n + BigInt(micro)).to.equal(time);
      }),
    );
  });
});
