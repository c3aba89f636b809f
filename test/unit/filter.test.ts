import { expect } from "chai";
import * as fc from "fast-check";
import { TRANSACTION_STATE } from "../../src/base/codes.js";
import { matchesFilter, type Candidate, type TransactionFilter } from "../../src/ledger/transaction/filter.js";

const ALL: TransactionFilter = {
  accountIds: null,
  kinds: [],
  states: [],
  from: null,
  before: null,
  minAmount: null,
  maxAmount: null,
  currencyCode: "",
  descriptionPrefix: "",
  externalReference: "",
  metadata: [],
};

const CANDIDATE: Candidate = {
  kind: "TRANSFER",
  state: TRANSACTION_STATE.POSTED,
  currencyCode: "USD",
  amountMinor: 100n,
  description: "rent for May",
  externalReference: "invoice-17",
  metadata: { env: "prod" },
  accountIds: ["a", null, "b"],
};

const withRange = (from: string, before: string): TransactionFilter => ({
  ...ALL,
  metadata: [{ key: "env", values: null, range: { from, before } }],
});

describe("a filter", () => {
  const cases: readonly (readonly [title: string, filter: Partial<TransactionFilter>, isMatch: boolean])[] = [
    ["without conditions", {}, true],
    ["on its kind", { kinds: ["TRANSFER"] }, true],
    ["on another kind", { kinds: ["DEPOSIT"] }, false],
    ["on its state", { states: [TRANSACTION_STATE.POSTED] }, true],
    ["on another state", { states: [TRANSACTION_STATE.REJECTED] }, false],
    ["on a minimum equal to its amount", { minAmount: 100n }, true],
    ["on a minimum above its amount", { minAmount: 101n }, false],
    ["on a maximum equal to its amount", { maxAmount: 100n }, true],
    ["on a maximum below its amount", { maxAmount: 99n }, false],
    ["on its currency", { currencyCode: "USD" }, true],
    ["on another currency", { currencyCode: "EUR" }, false],
    ["on the beginning of its description", { descriptionPrefix: "rent for" }, true],
    ["on text inside its description", { descriptionPrefix: "for" }, false],
    ["on its reference", { externalReference: "invoice-17" }, true],
    ["on the beginning of its reference", { externalReference: "invoice" }, false],
    ["on one of its accounts", { accountIds: ["x", "b"] }, true],
    ["on other accounts", { accountIds: ["x"] }, false],
    ["on an empty list of accounts", { accountIds: [] }, false],
    ["on its metadata pair", { metadata: [{ key: "env", values: ["test", "prod"], range: null }] }, true],
    ["on another metadata value", { metadata: [{ key: "env", values: ["test"], range: null }] }, false],
    ["on its metadata key", { metadata: [{ key: "env", values: null, range: null }] }, true],
    ["on the name of an inherited property", { metadata: [{ key: "constructor", values: null, range: null }] }, false],
    [
      "on a metadata key that it has and one that it lacks",
      { metadata: ["env", "x"].map((key) => ({ key, values: null, range: null })) },
      false,
    ],
  ];
  for (const [title, filter, isMatch] of cases) {
    it(`${title} ${isMatch ? "matches" : "does not match"} a transaction`, () => {
      expect(matchesFilter({ ...ALL, ...filter }, CANDIDATE)).to.equal(isMatch);
    });
  }

  it("on a range compares UTF-8 bytes, and excludes the end", () => {
    const text = fc.string({ unit: "binary", minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(text, text, text, (from, before, env) => {
        const [low, value, high] = [from, env, before].map((one) => Buffer.from(one));
        const candidate = { ...CANDIDATE, metadata: { env } };
        expect(matchesFilter(withRange(from, ""), candidate)).to.equal(Buffer.compare(low!, value!) <= 0);
        expect(matchesFilter(withRange("", before), candidate)).to.equal(Buffer.compare(value!, high!) < 0);
        expect(matchesFilter(withRange(env, env), candidate)).to.equal(false);
      }),
    );
  });
});
