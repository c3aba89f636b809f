import { createHash } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import { newId, parseId, systemAccountId } from "../../src/base/ids.js";

/** RFC 9562, section 5.5, written out: what systemAccountId() must come to. */
function uuidV5(namespace: string, name: string): string {
  const hash = createHash("sha1")
    .update(Buffer.from(namespace.replaceAll("-", ""), "hex"))
    .update(name)
    .digest();
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return hash.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

describe("an id", () => {
  it("is a UUIDv7 in lower case whose first 48 bits are the time in ms", () => {
    const before = Date.now();
    const id = newId();
    const after = Date.now();
    expect(id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).to.be.within(before, after);
  });

  it("is never made twice, and each is above the one before", () => {
    const ids = Array.from({ length: 10_000 }, newId);
    expect(new Set(ids).size).to.equal(ids.length);
    expect(ids.toSorted()).to.deep.equal(ids);
  });

  it("is the same in any case", () => {
    fc.assert(fc.property(fc.uuid(), (id) => parseId(id.toUpperCase()) === id && parseId(id) === id));
  });
});

describe("a system account's id", () => {
  it("is the UUIDv5 of currency and name in Grey's namespace: it never changes", () => {
    expect(systemAccountId("USD", "cash")).to.equal(uuidV5("6772657a-7f6c-5d0e-8a61-67726579bb01", "account/USD/cash"));
    expect(systemAccountId("USD", "cash")).to.equal("c78f7877-fc70-5053-a369-73376c181cc3");
  });

  it("is the same each time it is asked for, and another for every currency and name", () => {
    const currencies = ["USD", "EUR", "JPY", "A1B2C3D4E5F6"];
    const names = ["cash", "fees", "fx", "opening"];
    const ask = () => currencies.flatMap((currency) => names.map((name) => systemAccountId(currency, name)));
    const ids = ask();
    expect(new Set(ids).size).to.equal(16);
    expect(ask()).to.deep.equal(ids);
  });
});
