import { createLogger, format, type Logger } from "winston";
import Transport from "winston-transport";
import type { Config } from "../config/config.js";

export type { Logger };

/** Creates the logger of a server: JSON lines, or readable lines on a terminal. Amounts and personal data are never logged. */
export function createServerLogger(config: Pick<Config, "GREY_LOG_LEVEL" | "GREY_LOG_FORMAT">): Logger {
  const isPretty = config.GREY_LOG_FORMAT === "pretty" || (config.GREY_LOG_FORMAT === "auto" && process.stdout.isTTY);
  return createLogger({
    level: config.GREY_LOG_LEVEL,
    format: isPretty ? PRETTY : JSON_LINES,
    transports: [new LinesTransport(process.stdout)],
  });
}

/** Describes an error for the log, without statements, parameters and row values. */
export function describeError(error: unknown): Record<string, string> {
  if (!(error instanceof Error)) return { error: typeof error };
  const { code, constraint } = error as { code?: unknown; constraint?: unknown };
  return {
    error: `${error.name}: ${error.message}`,
    ...(typeof code === "string" && { code }),
    ...(typeof constraint === "string" && { constraint }),
    ...(error.stack !== undefined && { at: formatFrames(error.stack) }),
    ...(error.cause instanceof Error && { cause: `${error.cause.name}: ${error.cause.message}` }),
  };
}

/** Formats the frames of a stack on one line, without the message. */
function formatFrames(stack: string): string {
  return stack
    .split("\n")
    .filter((line) => line.startsWith("    at "))
    .slice(0, 12)
    .map((line) => line.trim())
    .join(" < ");
}

/** The property with which winston hands a formatted line to a transport. */
const MESSAGE = Symbol.for("message");

/**
 * Writes the lines of one turn of the event loop with one system call; winston's console makes one for each line. Lines that
 * wait at the end of the process are written then.
 */
class LinesTransport extends Transport {
  #waiting = "";
  readonly #out: NodeJS.WritableStream;

  constructor(out: NodeJS.WritableStream) {
    super();
    this.#out = out;
    process.once("exit", () => this.#flush());
  }

  override log(info: { readonly [MESSAGE]: string }, next: () => void): void {
    if (this.#waiting === "") setImmediate(() => this.#flush());
    this.#waiting += `${info[MESSAGE]}\n`;
    next();
  }

  #flush(): void {
    const lines = this.#waiting;
    this.#waiting = "";
    if (lines !== "") this.#out.write(lines);
  }
}

/** One JSON object a line. Fields are text and numbers, for which JSON.stringify is enough. */
const JSON_LINES = format.printf(({ level, message, ...rest }) =>
  JSON.stringify({ timestamp: new Date().toISOString(), level, message, ...rest }),
);

const PRETTY = format.combine(
  format.timestamp({ format: "HH:mm:ss.SSS" }),
  format.colorize({ level: true }),
  format.printf(({ timestamp, level, message, ...rest }) => {
    const fields = Object.entries(rest)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `${name}=${typeof value === "string" ? printable(value) : String(value)}`);
    return `${String(timestamp)} ${level} ${printable(String(message))} ${fields.join(" ")}`.trimEnd();
  }),
);

/** Replaces control characters, so that nothing a caller sends can forge a line or control the terminal. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are the point
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, "\u{fffd}");
}
