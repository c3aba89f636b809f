import { inspect } from "node:util";
import { CommanderError } from "commander";
import { readConfig, SettingError } from "../config/config.js";
import { CallError, describeCallError, UsageError } from "./failure.js";
import { createProgram } from "./program.js";
import { printable } from "./text.js";

const FAILED = 1;
const WRONGLY_USED = 2;

// A reader that has seen enough, such as `head`, closes the pipe: nothing is wrong. A server goes on (serve.ts).
for (const output of [process.stdout, process.stderr]) {
  output.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
}

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Says on standard error what went wrong. Returns the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONGLY_USED;
  console.error(`grey: ${describe(error)}`);
  if (isDebugging()) console.error(inspect(error).split("\n").map(printable).join("\n"));
  return error instanceof UsageError || error instanceof SettingError ? WRONGLY_USED : FAILED;
}

function describe(error: unknown): string {
  if (error instanceof CallError) return describeCallError(error);
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
