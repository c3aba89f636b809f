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
  const cases: readonly (readonly [title: string, filter: Partial<TransactionFilter>, isPassed: boolean])[] = [
    ["of nothing", {}, true],
    ["of its kind", { kinds: ["TRANSFER"] }, true],
    ["of another kind", { kinds: ["DEPOSIT"] }, false],
    ["of its state", { states: [TRANSACTION_STATE.POSTED] }, true],
    ["of another state", { states: [TRANSACTION_STATE.REJECTED] }, false],
    ["of amounts from its own", { minAmount: 100n }, true],
    ["of amounts from beyond it", { minAmount: 101n }, false],
    ["of amounts up to its own", { maxAmount: 100n }, true],
    ["of amounts below it", { maxAmount: 99n }, false],
    ["of its currency", { currencyCode: "USD" }, true],
    ["of another currency", { currencyCode: "EUR" }, false],
    ["of how its description begins", { descriptionPrefix: "rent for" }, true],
    ["of what its description only contains", { descriptionPrefix: "for" }, false],
    ["of its reference", { externalReference: "invoice-17" }, true],
    ["of how its reference begins", { externalReference: "invoice" }, false],
    ["of one of its accounts", { accountIds: ["x", "b"] }, true],
    ["of other accounts", { accountIds: ["x"] }, false],
    ["of no account at all", { accountIds: [] }, false],
    ["of its pair", { metadata: [{ key: "env", values: ["test", "prod"], range: null }] }, true],
    ["of another value", { metadata: [{ key: "env", values: ["test"], range: null }] }, false],
    ["of its key", { metadata: [{ key: "env", values: null, range: null }] }, true],
    ["of a key that every object has", { metadata: [{ key: "constructor", values: null, range: null }] }, false],
    [
      "of a pair that it has and one that it has not",
      { metadata: ["env", "x"].map((key) => ({ key, values: null, range: null })) },
      false,
    ],
  ];
  for (const [title, filter, isPassed] of cases) {
    it(`${title} ${isPassed ? "lets a transaction pass" : "does not let a transaction pass"}`, () => {
      expect(matchesFilter({ ...ALL, ...filter }, CANDIDATE)).to.equal(isPassed);
    });
  }

  it("of a range has the values in the order of their bytes in UTF-8, its end not included", () => {
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
