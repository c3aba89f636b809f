import { expect } from "chai";
import * as fc from "fast-check";
import {
  EntrySide,
  type Transaction,
  TransactionKind,
  TransactionState,
} from "../../generated/grey/transaction/v1/transaction.js";
import { ErrorReason } from "../../generated/grey/error/v1/error_reason.js";
import { systemAccountId } from "../../src/base/ids.js";
import { renderEntries, renderTransaction, showEnum } from "../../src/cli/render.js";
import { createAccountNames } from "../../src/cli/names.js";
import { PLAIN, renderFields, renderTable } from "../../src/cli/table.js";
import { showTime } from "../../src/cli/time.js";
import { printable, printableJson } from "../../src/cli/text.js";

const CURRENCIES = new Map([["USD", { code: "USD", exponent: 2 }]]);
const CONTROL = /[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/u;

describe("the output of the command", () => {
  it("shows control, separator and bidirectional characters as escapes", () => {
    expect(printable("a\u001b[2Jb\nc\u009b1m\u202ed\u2028e")).to.equal("a\\u001b[2Jb\\u000ac\\u009b1m\\u202ed\\u2028e");
    expect(printable("Zoë 👩‍🚀 می‌خواهم")).to.equal("Zoë 👩‍🚀 می‌خواهم");
  });

  it("contains no character that a terminal interprets", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => !CONTROL.test(printable(text))));
  });

  it("is JSON that parses to the same value, without control characters other than the line feed", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const json = printableJson({ text });
        expect(JSON.parse(json)).to.deep.equal({ text });
        expect(json.replaceAll("\n", "")).not.to.match(CONTROL);
      }),
    );
  });

  it("aligns amounts to the right and keeps every cell on its line", () => {
    const id = "01890a5d-ac96-774b-bcce-b302099a8057";
    const text = renderTable(
      [{ title: "wallet" }, { title: "amount", align: "right" }],
      [
        [id, "1.00 USD"],
        ["two\nlines", "1000.00 USD"],
      ],
      PLAIN,
    );
    expect(text.split("\n")).to.deep.equal([
      `WALLET                                     AMOUNT`,
      `${id}     1.00 USD`,
      `two\\u000alines                        1000.00 USD`,
    ]);
  });

  it("omits fields without a value", () => {
    expect(
      renderFields([
        ["name", "Ada"],
        ["deleted", ""],
        ["id", "1"],
      ]),
    ).to.equal("name  Ada\nid    1");
  });

  it("shows times in UTC to the microsecond, and times beyond the calendar in seconds", () => {
    expect(showTime({ seconds: 1_767_225_600n, nanos: 123_999_999 })).to.equal("2026-01-01T00:00:00.123999Z");
    expect(showTime({ seconds: 1_767_225_600n, nanos: 1_000 })).to.equal("2026-01-01T00:00:00.000001Z");
    expect(showTime({ seconds: 1_767_225_600n, nanos: 0 })).to.equal("2026-01-01T00:00:00Z");
    expect(showTime({ seconds: 2n ** 62n, nanos: 0 })).to.equal("4611686018427387904 s");
    expect(showTime(undefined)).to.equal("");
  });

  it("shows an unknown enum value as its number", () => {
    expect(showEnum(TransactionKind, TransactionKind.TRANSFER)).to.equal("transfer");
    expect(showEnum(TransactionKind, 77)).to.equal("77");
  });

  it("shows the reason of a rejection, and that the reply is a replay", () => {
    const text = renderTransaction(
      transaction({ state: TransactionState.REJECTED, reason: ErrorReason.WALLET_FROZEN }),
      true,
      CURRENCIES,
    );
    expect(text).to.match(/^state +rejected: WALLET_FROZEN$/m);
    expect(text).to.match(/^replayed +yes/m);
  });

  it("names a system account", () => {
    const accountId = systemAccountId("USD", "cash");
    const amount = { currencyCode: "USD", minorUnits: 1234n };
    const entry = { accountId, side: EntrySide.DEBIT, amount, balanceAfter: amount, accountSequence: 1n };
    expect(renderEntries([entry], createAccountNames(new Map([[accountId, "cash"]])), CURRENCIES)).to.match(
      /debit +cash +12\.34 USD/,
    );
  });
});

function transaction(fields: Partial<Transaction>): Transaction {
  return {
    id: "t",
    holdId: "",
    reversesId: "",
    reversed: undefined,
    reversalIds: [],
    requestId: "r",
    kind: TransactionKind.DEPOSIT,
    state: TransactionState.POSTED,
    entries: [],
    description: "",
    metadata: {},
    externalReference: "",
    exchange: undefined,
    createTime: undefined,
    effectiveTime: undefined,
    journalIndex: 0n,
    reason: ErrorReason.UNSPECIFIED,
    debitAccountId: "",
    creditAccountId: "",
    amount: undefined,
    ...fields,
  };
}
