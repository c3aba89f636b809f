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

/** Reads a whole number in decimal digits, within its bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It must be a whole number, ${min} to ${max}.`);
    return value;
  };
}

/** A date, and maybe a time of day, and maybe its offset from UTC. */
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** Reads a time in ISO 8601, to the microsecond; without an offset it is in the zone of this process, a date alone is its beginning. */
export function readTime(text: string): Timestamp {
  const [, date = "", clock = "00:00", second = "00", fraction = "", offset = ""] = TIME.exec(text) ?? [];
  const local = `${date}T${clock}:${second}`;
  // A text with a time of day and no offset is local to Date.parse().
  const seconds = Date.parse(`${local}${offset}`) / 1_000;
  // Date.parse() takes February 30 for March 2.
  const isOnCalendar = seconds >= 0 && new Date(`${local}Z`).toISOString().startsWith(local);
  if (!isOnCalendar)
    throw new InvalidArgumentError(
      "It must be a date or a time from 1970 on, such as 2026-11-22 or 2026-11-22T20:00:00Z.",
    );
  return { seconds: BigInt(seconds), nanos: Number(fraction.padEnd(6, "0")) * 1_000 };
}

/** The kinds and states of transactions, by their names as they are typed: `hold-capture` for HOLD_CAPTURE. */
export const KIND_CHOICES = choicesOf(TransactionKind);
export const STATE_CHOICES = choicesOf(TransactionState);

function choicesOf(values: Readonly<Record<string, string | number>>): Map<string, number> {
  const named = Object.entries(values).filter((pair): pair is [string, number] => typeof pair[1] === "number");
  return new Map(
    named.filter(([, value]) => value > 0).map(([name, value]) => [name.toLowerCase().replaceAll("_", "-"), value]),
  );
}

/** Reads a server's address. */
export function hostAndPort(text: string): string {
  const address = readAddress(text);
  if (address === undefined) throw new InvalidArgumentError("It must be host:port.");
  return address;
}

/** Adds one `key=value` to those before it. */
export function addMetadata(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must be key=value.");
  const key = text.slice(0, at);
  if (Object.hasOwn(before, key)) throw new InvalidArgumentError(`The key ${key} is given twice.`);
  return { ...before, [key]: text.slice(at + 1) };
}

export function metadataOption(): Option {
  return new Option("--metadata <key=value...>", "your own data, kept with it").argParser(addMetadata);
}

export function requestIdOption(): Option {
  return new Option("--request-id <uuid>", "the id of this request (default: a new one, which is printed)");
}

export function limitOption(): Option {
  return new Option("--limit <n>", "how many at the most").argParser(wholeNumber(1, 1_000_000)).default(50);
}

/** What follows the help of every command that changes something. */
export const ABOUT_REQUEST_ID = `
Idempotency:
  Every change carries a request id, a UUID. The same request under the same id is
  carried out once and gets the same answer for ever, marked as replayed, also when
  that answer was a refusal. So when a call times out or the connection is lost, run
  the same command again with --request-id and the id that was printed. Another
  request under an id that is used up is refused with REQUEST_ID_REUSED.`;

/** The examples that follow a command's help. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ grey ${line}`).join("\n")}\n`;
}

/** Says what is wrong with what was typed, and what to do. */
export function describeWrongUse({ code, message }: CommanderError): string {
  const [, typed = ""] = /unknown option '(-\d.*)'/.exec(message) ?? [];
  if (code === "commander.unknownOption" && typed !== "") {
    return (
      `"${printable(typed)}" looks like an option. ${NO_NEGATIVE} ` +
      `Where a balance may be below 0, type -- before it: -- "${printable(typed)}"`
    );
  }
  const lines = message
    .replace(/^error: /, "")
    .trim()
    .split("\n");
  return `${lines.map(printable).join("\n")} (--help tells how)`;
}

/** What to do instead of moving a negative amount. */
export const NO_NEGATIVE =
  "An amount that moves is more than 0: to move money the other way, swap the wallets, or use withdraw, deposit or reverse.";
