import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { inWords } from "../../src/rpc/patterns.js";

describe("what is said of a text that breaks a pattern", () => {
  const protos = readdirSync(join(PROJECT_DIR, "proto"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".proto"))
    .map((file) => readFileSync(join(PROJECT_DIR, "proto", file), "utf8"));
  const patterns = new Set(
    protos.flatMap((text) =>
      [...text.matchAll(/pattern(?:: | = )("(?:[^"\\]|\\.)*")/g)].map((match) => match[1] ?? ""),
    ),
  );

  it("are words, for every pattern of the contract", () => {
    expect(patterns.size).to.be.greaterThan(5);
    for (const pattern of patterns)
      expect(inWords(`does not match regex pattern \`${JSON.parse(pattern) as string}\``), pattern).to.match(/^must /);
  });

  it("leaves what is said of other rules", () => {
    expect(inWords("must be a valid UUID")).to.equal("must be a valid UUID");
  });
});
