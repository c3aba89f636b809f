import { type CommanderError, InvalidArgumentError, Option } from "commander";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { TransactionKind, TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { readAddress } from "../config/address.js";
import { printable } from "./text.js";

/** The options of every command. */
export interface GlobalOptions {
  readonly address?: string;
  readonly json?: true;
  readonly utc?: true;
  readonly timeout?: number;
}

export interface ChangeOptions {
  readonly requestId?: string;
  readonly metadata?: Record<string, string>;
}

/** Returns a parser of decimal whole numbers within bounds. */
export function wholeNumberReader(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It must be a whole number, ${min} to ${max}.`);
    return value;
  };
}

/** A date, optionally with a time of day and its offset from UTC. */
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** Parses an ISO 8601 time to the microsecond. Without an offset it is local time; a date is its midnight. */
export function readTime(text: string): Timestamp {
  const [, date = "", clock = "00:00", second = "00", fraction = "", offset = ""] = TIME.exec(text) ?? [];
  const local = `${date}T${clock}:${second}`;
  // Date.parse() reads a date-time without an offset as local time.
  const seconds = Date.parse(`${local}${offset}`) / 1_000;
  // Date.parse() reads February 30 as March 2.
  const isOnCalendar = seconds >= 0 && new Date(`${local}Z`).toISOString().startsWith(local);
  if (!isOnCalendar)
    throw new InvalidArgumentError(
      "It must be a date or time, 1970 or later, such as 2026-11-22 or 2026-11-22T20:00:00Z.",
    );
  return { seconds: BigInt(seconds), nanos: Number(fraction.padEnd(6, "0")) * 1_000 };
}

/** The kinds and states of transactions by option value: `hold-capture` for HOLD_CAPTURE. */
export const KIND_CHOICES = toChoices(TransactionKind);
export const STATE_CHOICES = toChoices(TransactionState);

function toChoices(values: Readonly<Record<string, string | number>>): Map<string, number> {
  const named = Object.entries(values).filter((pair): pair is [string, number] => typeof pair[1] === "number");
  return new Map(
    named.filter(([, value]) => value > 0).map(([name, value]) => [name.toLowerCase().replaceAll("_", "-"), value]),
  );
}

/** Parses a server address. */
export function readHostAndPort(text: string): string {
  const address = readAddress(text);
  if (address === undefined) throw new InvalidArgumentError("It must be host:port.");
  return address;
}

/** Adds a `key=value` pair to the previous ones. */
export function collectMetadata(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must be key=value.");
  const key = text.slice(0, at);
  if (Object.hasOwn(before, key)) throw new InvalidArgumentError(`The key ${key} is given twice.`);
  return { ...before, [key]: text.slice(at + 1) };
}

export function metadataOption(): Option {
  return new Option("--metadata <key=value...>", "your own data, stored with it").argParser(collectMetadata);
}

export function requestIdOption(): Option {
  return new Option("--request-id <uuid>", "the idempotency key (default: a new one, which is printed)");
}

export function limitOption(): Option {
  return new Option("--limit <n>", "the maximum number of rows").argParser(wholeNumberReader(1, 1_000_000)).default(50);
}

/** Ends the help of every command that makes a change. */
export const ABOUT_REQUEST_ID = `
Idempotency:
  Every change carries a request id, a UUID. A request is carried out once: repeating it
  with the same id returns the stored reply, marked as replayed, even if that was a
  refusal. After a timeout or a lost connection, repeat the command with --request-id
  and the printed id. A different request with a used id is refused (REQUEST_ID_REUSED).`;

/** Formats the examples in a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ grey ${line}`).join("\n")}\n`;
}

/** Describes a mistake in the arguments and its remedy. */
export function describeUsageError({ code, message }: CommanderError): string {
  const [, typed = ""] = /unknown option '(-\d.*)'/.exec(message) ?? [];
  if (code === "commander.unknownOption" && typed !== "") {
    return (
      `"${printable(typed)}" looks like an option. ${POSITIVE_AMOUNTS_ONLY} ` +
      `For a balance, which may be negative, put -- before it: -- "${printable(typed)}"`
    );
  }
  const lines = message
    .replace(/^error: /, "")
    .trim()
    .split("\n");
  return `${lines.map(printable).join("\n")} (see --help)`;
}

/** The advice for a negative amount. */
export const POSITIVE_AMOUNTS_ONLY =
  "The amount to move must be more than 0: to move money the other way, swap the wallets, or use withdraw, deposit or reverse.";
