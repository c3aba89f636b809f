import { inspect } from "node:util";
import { CommanderError } from "commander";
import { readConfig, SettingError } from "../config/config.js";
import { errorToJson, EXIT, toExitCode } from "./exit.js";
import { CallError, describeCallError, UsageError } from "./failure.js";
import { describeUsageError, type GlobalOptions } from "./options.js";
import { createProgram } from "./program.js";
import { printable } from "./text.js";

// A reader such as `head` may close the pipe early, which is no error. A server keeps running (serve.ts).
for (const output of [process.stdout, process.stderr]) {
  output.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
}

const program = createProgram();
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Prints the error on standard error and returns the exit code. */
function report(error: unknown): number {
  const exitCode = toExitCode(error);
  // Commander throws for --help and --version too, and prints help itself when a subcommand is missing.
  if (exitCode === EXIT.DONE || (error instanceof CommanderError && error.code === "commander.help")) return exitCode;
  if (program.opts<GlobalOptions>().json === true)
    console.error(printable(JSON.stringify(errorToJson(error, describe(error)))));
  else console.error(`grey: ${describe(error)}`);
  if (isDebugging()) console.error(inspect(error).split("\n").map(printable).join("\n"));
  return exitCode;
}

function describe(error: unknown): string {
  if (error instanceof CallError) return describeCallError(error);
  if (error instanceof CommanderError) return describeUsageError(error);
  if (error instanceof UsageError) return error.message.split("\n").map(printable).join("\n");
  if (error instanceof SettingError) return error.message.split("\n").map(printable).join("\ngrey: ");
  if (error instanceof AggregateError && error.message === "") return error.errors.map(describe).join("; ");
  return printable(error instanceof Error ? error.message || error.name : String(error));
}

function isDebugging(): boolean {
  try {
    return readConfig().GREY_LOG_LEVEL === "debug";
  } catch {
    return false;
  }
}
