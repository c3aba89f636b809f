import { randomBytes } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import type { FailureError } from "../../src/base/failure.js";
import { createPageTokens, pageOf, pageSizeOf } from "../../src/services/paging.js";

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

describe("a page", () => {
  const things = ["a", "b", "c", "d"];
  const pages = [
    { read: 0, size: 2, page: [], next: undefined },
    { read: 1, size: 2, page: ["a"], next: undefined },
    { read: 2, size: 2, page: ["a", "b"], next: undefined },
    { read: 3, size: 2, page: ["a", "b"], next: "b" },
    { read: 2, size: 1, page: ["a"], next: "a" },
  ];
  for (const { read, size, page, next } of pages) {
    it(`of ${size} holds ${page.length} of ${read} things that were read${next === undefined ? "" : " and names the next"}`, () => {
      expect(pageOf(things.slice(0, read), size, (thing) => thing)).to.deep.equal({ page, nextCursor: next });
    });
  }

  it("has 50 things unless the caller says how many", () => {
    expect([0, 1, 1_000].map((pageSize) => pageSizeOf({ pageSize }))).to.deep.equal([50, 1, 1_000]);
  });
});
