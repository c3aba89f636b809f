import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Help, Option } from "commander";
import { z } from "zod";
import { PROJECT_DIR } from "../config/config.js";
import { addAccountCommands } from "./account.js";
import { addAlertCommands } from "./alert.js";
import { addCheckCommand } from "./check.js";
import { addCompletionCommand } from "./completion.js";
import { addConfigCommand } from "./config.js";
import { addMigrateCommand } from "./migrate.js";
import { ABOUT_EXIT_CODES } from "./exit.js";
import { addExchangeCommands } from "./exchange.js";
import { addHoldCommands } from "./hold.js";
import { addLimitsCommands } from "./limits.js";
import { addMovementCommands, addReverseCommand } from "./movement.js";
import { ABOUT_REQUEST_ID, examples, readHostAndPort, wholeNumberReader } from "./options.js";
import { addPostCommand } from "./post.js";
import { addScheduleCommands } from "./schedule.js";
import { addSeedCommand } from "./seed.js";
import { addServeCommand } from "./serve.js";
import { useUtc } from "./time.js";
import { addTransactionsCommand } from "./transactions.js";
import { addUserCommands } from "./user.js";
import { addBalanceCommand, addStatementCommand, addWalletCommands } from "./wallet.js";

const PACKAGE = z.object({ version: z.string() });

/** Creates the command `grey`, which throws a CommanderError instead of exiting. */
export function createProgram(): Command {
  const program = new Command("grey")
    .description("A wallet and double-entry ledger service over gRPC: server and client.")
    .version(readVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addOption(
      new Option(
        "--address <host:port>",
        "the server to call (default: GREY_ADDRESS, else GREY_HOST and GREY_PORT)",
      ).argParser(readHostAndPort),
    )
    .option("--json", "print replies and errors as JSON; amounts are minor units in strings")
    .option("--utc", "show and read times in UTC instead of the local time zone")
    .on("option:utc", useUtc)
    .addOption(
      new Option("--timeout <ms>", "how long to wait for a reply (default: 10000)").argParser(
        wholeNumberReader(1, 3_600_000),
      ),
    )
    .addHelpText(
      "after",
      examples(
        "serve",
        "seed",
        'user create --name "Ada Lovelace" --email ada@example.com',
        'wallet create ada@example.com USD --initial "100.00 USD"',
        "transactions --user ada@example.com",
        "check",
      ) +
        ABOUT_REQUEST_ID +
        `
${ABOUT_EXIT_CODES}

With --json, standard output carries only the reply; each line of standard error is a JSON
object: a note, such as the request id, or the final error.
Times are local (TZ); JSON has them in UTC. An id may be shortened to a unique prefix.

Run \`grey <command> --help\` for the options and examples of a command.`,
    )
    .configureHelp({ showGlobalOptions: true, optionDescription: describeOption })
    // Errors are printed in one place (grey.ts), as text or as JSON.
    .configureOutput({ outputError: () => undefined })
    .exitOverride();

  addServeCommand(program);
  addMigrateCommand(program);
  addConfigCommand(program);
  addCheckCommand(program);
  addSeedCommand(program);
  addUserCommands(program);
  addWalletCommands(program);
  addBalanceCommand(program);
  addStatementCommand(program);
  addMovementCommands(program);
  addReverseCommand(program);
  addPostCommand(program);
  addExchangeCommands(program);
  addLimitsCommands(program);
  addAccountCommands(program);
  addHoldCommands(program);
  addScheduleCommands(program);
  addAlertCommands(program);
  addTransactionsCommand(program);
  addCompletionCommand(program);
  return program;
}

function describeOption(option: Option): string {
  return `${new Help().optionDescription(option)}${option.mandatory ? " (required)" : ""}`;
}

function readVersion(): string {
  return PACKAGE.parse(JSON.parse(readFileSync(join(PROJECT_DIR, "package.json"), "utf8"))).version;
}
