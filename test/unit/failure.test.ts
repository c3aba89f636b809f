import { expect } from "chai";
import * as fc from "fast-check";
import { decodeFailure, encodeFailure, isRefusal } from "../../src/base/failure.js";
import { AMOUNT_MAX, AMOUNT_MIN } from "../../src/base/money.js";
import { FAILURES } from "../support/failures.js";

describe("a failure", () => {
  for (const failure of FAILURES) {
    it(`of reason ${failure.reason} survives being stored (${Object.keys(failure).slice(1).join(", ") || "no fields"})`, () => {
      expect(decodeFailure(encodeFailure(failure))).to.deep.equal(failure);
    });
  }

  it("keeps every amount exact and every text as it is", () => {
    const amount = fc.bigInt({ min: AMOUNT_MIN, max: AMOUNT_MAX });
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), amount, amount, (text, availableMinorUnits, requiredMinorUnits) => {
        const failure = {
          reason: "INSUFFICIENT_FUNDS",
          walletId: text,
          currencyCode: text,
          availableMinorUnits,
          requiredMinorUnits,
        } as const;
        expect(decodeFailure(encodeFailure(failure))).to.deep.equal(failure);
      }),
    );
  });

  it("is an answer for ever when a rule of business refuses, and passes when the request or the moment is wrong", () => {
    const passing = new Set(FAILURES.filter((failure) => !isRefusal(failure)).map((failure) => failure.reason));
    expect([...passing].sort()).to.deep.equal([
      "CALLER_GONE",
      "DATABASE_UNAVAILABLE",
      // A hold's id is the service's own, and so is a transaction's: what is not found now never is.
      "HOLD_NOT_FOUND",
      "INTERNAL",
      "INVALID_REQUEST",
      "JOURNAL_BEHIND",
      "OUTCOME_UNKNOWN",
      "OVERLOADED",
      "PAGE_TOKEN_INVALID",
      "QUOTE_INVALID",
      "REQUEST_ID_REUSED",
      "SHUTTING_DOWN",
      "TRANSACTION_NOT_FOUND",
      "WATCHER_TOO_SLOW",
    ]);
  });
});
