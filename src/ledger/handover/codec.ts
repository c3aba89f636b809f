import { deserialize, serialize } from "node:v8";
import { kindFromCode, TRANSACTION_KIND } from "../../base/codes.js";
import type { Entry } from "../account/entry.js";
import {
  isMovement,
  NO_CALLER_DATA,
  type CallerData,
  type Command,
  type MovementCommand,
  type UnitOfWork,
} from "../command/command.js";
import type { KindOf } from "../command/kinds.js";
import type { Outcome } from "../post/outcome.js";
import { Reader, Writer } from "./bytes.js";
import type { Answer, ToFront, ToPoster, UnitNumber } from "./wire.js";

// Values as bytes. Most units are plain movements, which have a layout of their own: writing and reading them costs a fifth of
// V8's serialisation, which carries everything else.

/** The first byte of a frame, and of what may be plain. */
const AS_VALUE = 0;
const AS_UNITS = 1;
const AS_ANSWERS = 2;
const PLAIN_INDEPENDENT = 1;
const PLAIN_ATOMIC = 2;
const PLAIN_OUTCOMES = 1;

export function encodeToPoster(value: ToPoster): Buffer {
  return value.kind === "UNITS" ? encodeNumbered(AS_UNITS, value.units, writeUnit) : encodeValue(value);
}

export function decodeToPoster(bytes: Buffer): ToPoster {
  const units = decodeNumbered(AS_UNITS, bytes, readUnit);
  return units === undefined ? (decodeValue(bytes) as ToPoster) : { kind: "UNITS", units };
}

export function encodeToFront(value: ToFront): Buffer {
  return value.kind === "ANSWERS" ? encodeNumbered(AS_ANSWERS, value.answers, writeAnswer) : encodeValue(value);
}

export function decodeToFront(bytes: Buffer): ToFront {
  const answers = decodeNumbered(AS_ANSWERS, bytes, readAnswer);
  return answers === undefined ? (decodeValue(bytes) as ToFront) : { kind: "ANSWERS", answers };
}

function encodeNumbered<T>(
  as: number,
  items: readonly (readonly [UnitNumber, T])[],
  write: (writer: Writer, item: T) => void,
): Buffer {
  const writer = new Writer();
  writer.byte(as);
  writer.count(items.length);
  for (const [number, item] of items) {
    writer.count(number);
    write(writer, item);
  }
  return writer.finish();
}

/** Decodes numbered items; undefined for another kind of frame. */
function decodeNumbered<T>(
  as: number,
  bytes: Buffer,
  read: (reader: Reader) => T,
): (readonly [UnitNumber, T])[] | undefined {
  const reader = new Reader(bytes);
  return reader.byte() === as ? reader.list(() => [reader.count(), read(reader)] as const) : undefined;
}

function encodeValue(value: ToPoster | ToFront): Buffer {
  return Buffer.concat([Buffer.from([AS_VALUE]), serialize(value)]);
}

function decodeValue(bytes: Buffer): unknown {
  return deserialize(bytes.subarray(1));
}

function writeUnit(writer: Writer, unit: UnitOfWork): void {
  const { commands, mode } = unit;
  if (!areAll(commands, isPlainCommand)) {
    writer.byte(AS_VALUE);
    return writer.bytes(serialize(unit));
  }
  writer.byte(mode === "ATOMIC" ? PLAIN_ATOMIC : PLAIN_INDEPENDENT);
  writer.count(commands.length);
  for (const command of commands) writeCommand(writer, command);
}

function readUnit(reader: Reader): UnitOfWork {
  const how = reader.byte();
  if (how === AS_VALUE) return deserialize(reader.bytes()) as UnitOfWork;
  return { mode: how === PLAIN_ATOMIC ? "ATOMIC" : "INDEPENDENT", commands: reader.list(readCommand) };
}

function isPlainCommand(command: Command): command is MovementCommand {
  return isMovement(command) && command.preconditions.length === 0 && command.requestTerms === null && isPlain(command);
}

function isPlain({ data }: { readonly data: CallerData }): boolean {
  if (data.externalReference !== "") return false;
  for (const _ in data.metadata) return false;
  return true;
}

function writeCommand(writer: Writer, command: MovementCommand): void {
  writer.byte(TRANSACTION_KIND[command.kind]);
  writer.byte(command.isUpTo ? 1 : 0);
  writer.id(command.caller);
  writer.id(command.requestId);
  writer.id(command.transactionId);
  writer.id(command.debitAccountId);
  writer.id(command.creditAccountId);
  writer.text(command.currencyCode);
  writer.int64(command.amountMinor);
  writer.text(command.data.description);
  writer.optional(command.effectiveTime);
  writer.text(command.system?.name ?? "");
  if (command.system !== null) writer.id(command.system.accountId);
}

function readCommand(reader: Reader): MovementCommand {
  const kind = kindFromCode(reader.byte()) as KindOf<"MOVEMENT">;
  const isUpTo = reader.byte() === 1;
  const caller = reader.id();
  const requestId = reader.id();
  const transactionId = reader.id();
  const debitAccountId = reader.id();
  const creditAccountId = reader.id();
  const currencyCode = reader.text();
  const amountMinor = reader.int64();
  const data = toCallerData(reader.text());
  const effectiveTime = reader.optional();
  const name = reader.text();
  return {
    kind,
    caller,
    requestId,
    transactionId,
    data,
    preconditions: [],
    requestTerms: null,
    currencyCode,
    amountMinor,
    debitAccountId,
    creditAccountId,
    system: name === "" ? null : { name, accountId: reader.id() },
    isUpTo,
    effectiveTime,
  };
}

function toCallerData(description: string): CallerData {
  return description === "" ? NO_CALLER_DATA : { description, metadata: {}, externalReference: "" };
}

type PostedOutcome = Extract<Outcome, { transaction: unknown }>;

function writeAnswer(writer: Writer, answer: Answer): void {
  if ("reason" in answer || !areAll(answer, isPlainOutcome)) {
    writer.byte(AS_VALUE);
    return writer.bytes(serialize(answer));
  }
  writer.byte(PLAIN_OUTCOMES);
  writer.count(answer.length);
  for (const outcome of answer) writeOutcome(writer, outcome);
}

function readAnswer(reader: Reader): Answer {
  if (reader.byte() === AS_VALUE) return deserialize(reader.bytes()) as Answer;
  return reader.list(readOutcome);
}

/** Reports whether the outcome is a movement that was posted. */
function isPlainOutcome(outcome: Outcome): outcome is PostedOutcome {
  if ("failure" in outcome) return false;
  const { transaction } = outcome;
  return (
    transaction.failure === null &&
    transaction.legs === null &&
    transaction.exchange === null &&
    transaction.holdId === null &&
    transaction.hold === null &&
    transaction.reversesId === null &&
    transaction.requestTerms === null &&
    transaction.creditAccountId !== null &&
    isPlain(transaction)
  );
}

function writeOutcome(writer: Writer, { transaction, replayed }: PostedOutcome): void {
  writer.byte(TRANSACTION_KIND[transaction.kind]);
  writer.byte(replayed ? 1 : 0);
  writer.id(transaction.id);
  writer.id(transaction.requestId);
  writer.id(transaction.debitAccountId);
  writer.id(transaction.creditAccountId ?? "");
  writer.text(transaction.currencyCode);
  writer.int64(transaction.amountMinor);
  writer.text(transaction.data.description);
  writer.optional(transaction.effectiveTime);
  writer.int64(transaction.journalIndex);
  writer.int64(transaction.createTime);
  writer.count(transaction.entries.length);
  for (const entry of transaction.entries) writeEntry(writer, entry);
}

function readOutcome(reader: Reader): PostedOutcome {
  const kind = kindFromCode(reader.byte());
  const replayed = reader.byte() === 1;
  const id = reader.id();
  const requestId = reader.id();
  const debitAccountId = reader.id();
  const creditAccountId = reader.id();
  const currencyCode = reader.text();
  const amountMinor = reader.int64();
  const data = toCallerData(reader.text());
  const effectiveTime = reader.optional();
  const journalIndex = reader.int64();
  const createTime = reader.int64();
  const entries = reader.list(readEntry);
  const transaction = {
    id,
    journalIndex,
    createTime,
    kind,
    debitAccountId,
    creditAccountId,
    currencyCode,
    amountMinor,
    effectiveTime,
    legs: null,
    exchange: null,
    requestId,
    data,
    requestTerms: null,
    entries,
    failure: null,
    holdId: null,
    hold: null,
    reversesId: null,
  };
  return { transaction, replayed };
}

function writeEntry(writer: Writer, entry: Entry): void {
  writer.id(entry.accountId);
  writer.text(entry.currencyCode);
  writer.byte(entry.isWallet ? 1 : 0);
  writer.int64(entry.sequence);
  writer.int64(entry.amountMinor);
  writer.int64(entry.balanceAfterMinor);
  writer.int64(entry.pendingDebitsAfterMinor);
  writer.int64(entry.pendingCreditsAfterMinor);
}

function readEntry(reader: Reader): Entry {
  return {
    accountId: reader.id(),
    currencyCode: reader.text(),
    isWallet: reader.byte() === 1,
    sequence: reader.int64(),
    amountMinor: reader.int64(),
    balanceAfterMinor: reader.int64(),
    pendingDebitsAfterMinor: reader.int64(),
    pendingCreditsAfterMinor: reader.int64(),
  };
}

function areAll<T, S extends T>(items: readonly T[], is: (item: T) => item is S): items is readonly S[] {
  return items.every(is);
}
