import { expect } from "chai";
import { listCandidates } from "../../src/cli/completion.js";
import { createProgram } from "../../src/cli/program.js";

describe("shell completion", () => {
  const cases: [words: string[], candidates: string[]][] = [
    [["trans"], ["transactions", "transfer"]],
    [["transactions", "sh"], ["show"]],
    [["transactions", "list", "--ki"], ["--kind"]],
    [["transactions", "--ki"], ["--kind"]],
    [["schedule", "list", "--state", "pa"], ["paused"]],
    [
      ["alert", "create", "w", "--direction", ""],
      ["both", "down", "up"],
    ],
    [["balance", "w", "--at", ""], []],
    [["--address", "a:1", "wal"], ["wallet"]],
    [["wallet", "freeze", "--rea"], ["--reason"]],
    [["wallet", "freeze", "--ut"], ["--utc"]],
    [
      ["completion", ""],
      ["bash", "fish", "help", "zsh"],
    ],
    [["nonsense", "x", "zz"], []],
  ];
  for (const [words, candidates] of cases) {
    it(`of \`grey ${words.join(" ")}\` offers ${candidates.join(", ") || "nothing"}`, () => {
      expect(listCandidates(createProgram(), words)).to.deep.equal(candidates);
    });
  }
});
