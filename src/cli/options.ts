import { InvalidArgumentError, Option } from "commander";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { TransactionKind, TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { readAddress } from "../config/address.js";

/** The options of every command. */
export interface GlobalOptions {
  readonly address?: string;
  readonly json?: true;
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

/** Reads a time in ISO 8601 with its offset, to the microsecond. */
export function readTime(text: string): Timestamp {
  const [, local = "", fraction = "", offset = ""] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)$/.exec(text) ?? [];
  const seconds = Date.parse(`${local}${offset}`) / 1_000;
  // Date.parse() takes February 30 for March 2.
  const isOnCalendar = seconds >= 0 && new Date(`${local}Z`).toISOString().startsWith(local);
  if (!isOnCalendar) throw new InvalidArgumentError("It must be a time such as 2026-11-22T20:00:00Z, from 1970 on.");
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
