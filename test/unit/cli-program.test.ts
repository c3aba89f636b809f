import { expect } from "chai";
import { type Command, CommanderError } from "commander";
import { createProgram } from "../../src/cli/program.js";

const CHANGES = [
  "create",
  "deposit",
  "withdraw",
  "transfer",
  "reverse",
  "capture",
  "release",
  "increase",
  "extend",
  "freeze",
  "unfreeze",
  "close",
  "reopen",
  "set-metadata",
  "post",
  "exchange",
  "set",
  "defaults",
  "pause",
  "resume",
  "cancel",
  "delete",
];

describe("the help of the command", () => {
  for (const command of leaves(createProgram())) {
    it(`of \`${pathOf(command)}\` describes the command and every option, with an example`, () => {
      const help = helpOf(command);
      expect(command.description()).not.to.equal("");
      expect(command.options.every((option) => option.description !== "")).to.equal(true);
      expect(help).to.include(`$ ${pathOf(command)}`);
      expect(help).to.include("--address <host:port>");
    });
  }

  it("explains idempotency for every command that makes a change", () => {
    const changing = leaves(createProgram()).filter((command) => CHANGES.includes(command.name()));
    expect(changing).to.have.length(28);
    for (const command of changing)
      expect(helpOf(command), pathOf(command)).to.match(/--request-id <uuid>[^]*Idempotency:/);
  });
});

describe("the command line", () => {
  const wrong: string[][] = [
    ["nonsense"],
    ["user", "create", "--email", "a@example.com"],
    ["user", "list", "--limit", "0"],
    ["transactions", "--user", "a", "--wallet", "b"],
    ["transactions", "--wallet", "b", "--kind", "gift"],
    ["transactions", "--metadata", "=value"],
    ["transactions", "set-metadata"],
    ["balance", "w", "--at", "2026-01-01T00:00:00Z", "--effective", "2026-01-01T00:00:00Z"],
    ["deposit", "w"],
    ["balance", "w", "--address", "nowhere"],
    ["balance", "w", "--timeout", "soon"],
    ["migrate", "--check", "--revert"],
    ["seed", "--users", "-1"],
  ];
  for (const args of wrong) {
    it(`refuses \`grey ${args.join(" ")}\` before it calls the server`, async () => {
      const program = silence(createProgram());
      const error = await program.parseAsync(args, { from: "user" }).catch((error: unknown) => error);
      expect(error).to.be.instanceOf(CommanderError).with.property("exitCode", 1);
    });
  }
});

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => void (text += part) });
  command.outputHelp();
  return text;
}

function silence(command: Command): Command {
  command.configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
  command.commands.forEach(silence);
  return command;
}
