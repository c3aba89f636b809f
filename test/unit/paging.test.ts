import { randomBytes } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import { Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { StatementLine } from "../../generated/grey/wallet/v1/statement.js";
import type { FailureError } from "../../src/base/failure.js";
import { ANSWER_BYTES_MAX, estimateBytesMax } from "../../src/base/room.js";
import { createPageTokens } from "../../src/services/shared/page-tokens.js";
import { answerPage, getPageSize, readListing, ROWS_AT_ONCE, type Listing } from "../../src/services/shared/paging.js";

const tokens = createPageTokens(Buffer.alloc(32, 7));
const SCOPE = ["ListTransactions", "caller-1", { walletId: "w1", kinds: [1, 2], from: 5n }] as const;
const CURSOR = "1234567890";

function assertInvalid(scope: readonly unknown[], token: string, of = tokens): void {
  let cursor: string | undefined;
  try {
    cursor = of.open(scope, token);
  } catch (error) {
    expect((error as FailureError).failure).to.deep.equal({ reason: "PAGE_TOKEN_INVALID" });
    return;
  }
  expect.fail(`the token ${JSON.stringify(token)} opened as ${cursor}`);
}

describe("a page token", () => {
  it("opens for what it was made for", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.array(fc.string()), (cursor, scope) => {
        expect(tokens.open(scope, tokens.seal(scope, cursor))).to.equal(cursor);
      }),
    );
  });

  it("opens in every process that has the ledger's secret", () => {
    expect(createPageTokens(Buffer.alloc(32, 7)).open(SCOPE, tokens.seal(SCOPE, CURSOR))).to.equal(CURSOR);
  });

  it("is empty for the first page", () => expect(tokens.open(SCOPE, "")).to.equal(undefined));

  it("is safe to put into a URL", () => expect(tokens.seal(SCOPE, "ÿþ~~??//")).to.match(/^[A-Za-z0-9_-]+$/));

  it("does not open when any of its bits is another", () => {
    const bytes = Buffer.from(tokens.seal(SCOPE, CURSOR), "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const tampered = Buffer.from(bytes);
      tampered[bit >> 3]! ^= 1 << (bit & 7);
      assertInvalid(SCOPE, tampered.toString("base64url"));
    }
  });

  it("does not open when any of its characters is another, left out or added", () => {
    const token = tokens.seal(SCOPE, CURSOR);
    for (let at = 0; at < token.length; at += 1) {
      for (const character of "Aa0_-+/= .") {
        const changed = token.slice(0, at) + character + token.slice(at + 1);
        if (changed !== token) assertInvalid(SCOPE, changed);
        assertInvalid(SCOPE, token.slice(0, at) + character + token.slice(at));
      }
      assertInvalid(SCOPE, token.slice(0, at) + token.slice(at + 1));
      if (at > 0) assertInvalid(SCOPE, token.slice(0, at));
    }
  });

  const others: readonly (readonly [string, readonly unknown[]])[] = [
    ["another caller", ["ListTransactions", "caller-2", SCOPE[2]]],
    ["another method", ["ListUsers", "caller-1", SCOPE[2]]],
    ["another wallet", ["ListTransactions", "caller-1", { ...SCOPE[2], walletId: "w2" }]],
    ["other kinds", ["ListTransactions", "caller-1", { ...SCOPE[2], kinds: [1] }]],
    ["another order of kinds", ["ListTransactions", "caller-1", { ...SCOPE[2], kinds: [2, 1] }]],
    ["another time", ["ListTransactions", "caller-1", { ...SCOPE[2], from: 6n }]],
    ["no filters", ["ListTransactions", "caller-1", {}]],
    ["fewer parts", ["ListTransactions", "caller-1"]],
    ["parts run together", ["ListTransactionscaller-1", SCOPE[2]]],
  ];
  for (const [title, scope] of others) {
    it(`does not open for ${title}`, () => assertInvalid(scope, tokens.seal(SCOPE, CURSOR)));
  }

  it("does not open under another ledger's secret", () => {
    assertInvalid(SCOPE, tokens.seal(SCOPE, CURSOR), createPageTokens(randomBytes(32)));
  });

  it("does not open when it was made of anything else", () => {
    fc.assert(fc.property(fc.string({ minLength: 1, unit: "binary" }), (text) => assertInvalid(SCOPE, text)));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (bytes) =>
        assertInvalid(SCOPE, Buffer.from(bytes).toString("base64url")),
      ),
    );
  });
});

describe("the pages of a list", () => {
  const CONTEXT = { caller: SCOPE[1] };
  const scope = [SCOPE[0], SCOPE[2]] as const;
  const KIB = 1_024;
  const lengths = fc.oneof(
    fc.nat({ max: 40 }),
    fc.nat({ max: 70 * KIB }),
    fc.constantFrom(ANSWER_BYTES_MAX - 100, ANSWER_BYTES_MAX, 4 * KIB * KIB),
  );
  // More than are read at once; most are small, so that there is something to page through.
  const listed = fc.oneof(
    fc.array(lengths, { maxLength: 60 }),
    fc.array(fc.nat({ max: 40 }), { maxLength: 5 * ROWS_AT_ONCE }),
    fc.array(fc.constant(60 * KIB), { maxLength: 2 * ROWS_AT_ONCE }),
  );

  it("hold every item once and in order, none more than asked for, and end before 3 MiB unless one item has more", async () => {
    let short = 0;
    await fc.assert(
      fc.asyncProperty(listed, fc.integer({ min: 1, max: 1_000 }), async (rows, pageSize) => {
        const text = "x".repeat(4 * KIB * KIB);
        const all: StatementLine[] = rows.map((length, index) =>
          StatementLine.fromPartial({ accountSequence: BigInt(index), description: text.slice(0, length) }),
        );
        const listing: Listing<StatementLine, StatementLine, "items"> = {
          field: "items",
          read: async (after, limit) => {
            expect(limit).to.be.at.most(ROWS_AT_ONCE + 1);
            const start = after === undefined ? 0 : Number(after) + 1;
            return all.slice(start, start + limit);
          },
          render: (found) => found,
          codec: StatementLine,
          cursorOf: (line) => line.accountSequence.toString(),
        };
        const read: StatementLine[] = [];
        let pageToken = "";
        do {
          const { items, nextPageToken } = await answerPage(tokens, { pageToken }, CONTEXT, scope, (cursor) =>
            readListing(listing, cursor, pageSize),
          );
          const bytes = items.reduce((sum, one) => sum + StatementLine.encode(one).finish().length, 0);
          expect(items.length).to.be.at.most(pageSize);
          if (all.length > 0) expect(items).to.have.length.above(0);
          if (items.length > 1) expect(bytes).to.be.at.most(ANSWER_BYTES_MAX);
          if (nextPageToken !== "" && items.length < pageSize) {
            short += 1;
            const next = all[read.length + items.length]!;
            const more = bytes + StatementLine.encode(next).finish().length;
            // Each stands in the answer with its tag and its length.
            expect(more + 6 * (items.length + 1)).to.be.above(ANSWER_BYTES_MAX);
          }
          read.push(...items);
          pageToken = nextPageToken;
        } while (pageToken !== "");
        expect(read.map((line) => line.accountSequence)).to.deep.equal(all.map((line) => line.accountSequence));
      }),
      { numRuns: 60 },
    );
    expect(short).to.be.above(0);
  });

  it("are not read for a token of another list or caller", async () => {
    const pageToken = tokens.seal(SCOPE, CURSOR);
    const read = async (cursor: string | undefined) => ({ page: { cursor }, next: undefined });
    const own = await answerPage(tokens, { pageToken }, CONTEXT, scope, read);
    expect(own).to.deep.equal({ cursor: CURSOR, nextPageToken: "" });
    const calls = [
      answerPage(tokens, { pageToken }, CONTEXT, ["ListUsers"], () => expect.fail("read")),
      answerPage(tokens, { pageToken }, { caller: "caller-2" }, scope, () => expect.fail("read")),
    ];
    for (const call of calls) {
      const error: unknown = await call.catch((thrown: unknown) => thrown);
      expect((error as FailureError).failure).to.deep.equal({ reason: "PAGE_TOKEN_INVALID" });
    }
  });

  it("have 50 items unless the caller says how many", () => {
    expect([0, 1, 1_000].map((pageSize) => getPageSize({ pageSize }))).to.deep.equal([50, 1, 1_000]);
  });
});

describe("the quick measure of a message", () => {
  it("is never less than what the message takes", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 });
    const int64 = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
    const money = fc.option(fc.record({ currencyCode: text, minorUnits: int64 }), { nil: undefined });
    const entry = fc.record({
      accountId: text,
      side: fc.nat(),
      amount: money,
      balanceAfter: money,
      accountSequence: int64,
    });
    const transaction = fc.record({
      requestId: text,
      kind: fc.integer(),
      entries: fc.array(entry),
      metadata: fc.dictionary(text, text),
      journalIndex: int64,
      createTime: fc.record({ seconds: int64, nanos: fc.integer() }),
      reversalIds: fc.array(text),
      exchange: fc.option(fc.record({ sourceAmount: money, rate: text }), { nil: undefined }),
    });
    fc.assert(
      fc.property(transaction, (partial) => {
        const message = Transaction.fromPartial(partial);
        expect(estimateBytesMax(message)).to.be.at.least(Transaction.encode(message).finish().length);
      }),
    );
  });
});
