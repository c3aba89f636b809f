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
import { ABOUT_REQUEST_ID, examples, hostAndPort, wholeNumber } from "./options.js";
import { addPostCommand } from "./post.js";
import { addScheduleCommands } from "./schedule.js";
import { addSeedCommand } from "./seed.js";
import { addServeCommand } from "./serve.js";
import { useUtc } from "./time.js";
import { addTransactionsCommand } from "./transactions.js";
import { addUserCommands } from "./user.js";
import { addBalanceCommand, addStatementCommand, addWalletCommands } from "./wallet.js";

const PACKAGE = z.object({ version: z.string() });

/** The command `grey`. It throws a CommanderError instead of ending the process. */
export function createProgram(): Command {
  const program = new Command("grey")
    .description("Wallets and a double-entry ledger over gRPC: the server and its client.")
    .version(readVersion(), "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .addOption(
      new Option(
        "--address <host:port>",
        "the server to call (default: GREY_ADDRESS, else GREY_HOST and GREY_PORT)",
      ).argParser(hostAndPort),
    )
    .option("--json", "print the reply as JSON, and errors too; amounts are minor units in strings")
    .option("--utc", "show times in UTC, not in the zone of this machine, and read them so")
    .on("option:utc", useUtc)
    .addOption(
      new Option("--timeout <ms>", "how long to wait for an answer (default: 10000)").argParser(
        wholeNumber(1, 3_600_000),
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

With --json, standard output has the reply and nothing else; on standard error each line is
a JSON object: a remark, such as the request id, or the error at the end.
Times are shown in the zone of this machine (TZ), --json has them in UTC.

\`grey <command> --help\` tells more about a command.`,
    )
    .configureHelp({ showGlobalOptions: true, optionDescription: describeOption })
    // Errors are told in one place, as text or as JSON.
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
