import { randomBytes } from "node:crypto";
import type { QueryResultRow } from "pg";
import { present } from "../base/assert.js";
import { encodeFailure } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import type { Micros } from "../base/time.js";
import { int2Array, int8Array, textArray, timestampArray, uuidArray } from "../db/binary-array.js";
import { TRANSACTION_STATE } from "../entities/transaction.js";
import type { JournalRecord } from "../journal/append.js";
import type { Book, Books, ReadBook } from "./books.js";
import type { Decided } from "./work.js";
import type { LedgerTransaction, Movement } from "./transaction.js";

/** The books of one batch: what its decisions read, as it was, and what they made of it. */
export interface Batch extends Books {
  /** The revision of each account that a decision asked for, after the batch. */
  readonly revision: bigint;
  /** The accounts that decisions asked for. */
  readonly touched: readonly Touched[];
}

/** An account that a batch knows. */
interface Touched {
  /** As it is by now. */
  book: Book;
  readonly revisionBefore: bigint;
}

/** The books of a batch, over what is known of the accounts. */
export function openBatch(known: readonly ReadBook[]): Batch {
  const accounts = new Map<Uuid, Touched & { isTouched: boolean }>();
  for (const { book, revision } of known) accounts.set(book.id, { book, revisionBefore: revision, isTouched: false });
  const touched: Touched[] = [];
  return {
    revision: newRevision(),
    touched,
    get: (id) => {
      const account = accounts.get(id);
      if (account === undefined) return undefined;
      if (!account.isTouched) {
        account.isTouched = true;
        touched.push(account);
      }
      return account.book;
    },
    set: (id, book) => {
      present(accounts.get(id), "a known account").book = book;
    },
  };
}

/** A revision that nobody else has or guesses: 63 random bits. */
function newRevision(): bigint {
  return randomBytes(8).readBigUInt64BE() >> 1n;
}

/** What sends the one statement that writes a batch: a connection inside a transaction, or the posting connection. */
export interface Writer {
  query<Row extends QueryResultRow>(query: { name: string; text: string; values: unknown[] }): Promise<{ rows: Row[] }>;
}

/** What else goes with a batch. */
export interface WriteOptions {
  /** false when the caller has claimed the request ids itself. */
  readonly claims?: boolean;
  /** Journal records that stand before those of the transactions. */
  readonly leading?: readonly JournalRecord[];
}

/** When and where a batch was recorded. */
export interface Recorded {
  readonly firstIndex: bigint;
  readonly createTime: Micros;
}

const POST_BATCH = `
SELECT first_index, create_time_micros FROM post_batch(
  $1::boolean, $2::bigint, $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[],
  $7::uuid[], $8::smallint[], $9::smallint[], $10::uuid[], $11::uuid[], $12::uuid[], $13::uuid[], $14::bigint[],
  $15::bigint[], $16::bigint[], $17::bigint[], $18::text[], $19::bigint[], $20::text[], $21::text[],
  $22::timestamptz[], $23::text[], $24::uuid[], $25::smallint[])`;

/**
 * Writes what was decided: transactions, entries, balances, requests and the journal, all or nothing.
 *
 * Fails with serialization_failure when an account that a decision read has changed since, and with unique_violation
 * of requests_pkey when a request id was used before; then nothing is written.
 */
export async function writeBatch(
  client: Writer,
  batch: Batch,
  decided: readonly Decided[],
  { claims = true, leading = [] }: WriteOptions = {},
): Promise<Recorded> {
  const { rows } = await client.query<{ first_index: bigint; create_time_micros: bigint }>({
    name: "post-batch",
    text: POST_BATCH,
    values: [
      claims,
      ...accountColumns(batch),
      ...transactionColumns(decided),
      uuidArray(leading.map((record) => record.id)),
      int2Array(leading.map((record) => record.type)),
    ],
  });
  const row = present(rows[0], "the batch's place in the journal");
  return { firstIndex: row.first_index, createTime: row.create_time_micros };
}

/** The transactions that a batch recorded, in the order of its decisions. */
export function transactionsOf(decided: readonly Decided[], { firstIndex, createTime }: Recorded): LedgerTransaction[] {
  return decided.map(({ command, decision }, index) => ({
    id: command.transactionId,
    journalIndex: firstIndex + BigInt(index),
    createTime,
    kind: command.kind,
    requestId: command.requestId,
    debitAccountId: command.debitAccountId,
    creditAccountId: command.creditAccountId,
    currencyCode: command.currencyCode,
    amountMinor: command.amountMinor,
    description: command.description,
    metadata: command.metadata,
    effectiveTime: command.effectiveTime,
    entries: "entries" in decision ? decision.entries : [],
    failure: "failure" in decision ? decision.failure : null,
  }));
}

function accountColumns(batch: Batch): unknown[] {
  // In id order, which is the order in which every writer locks accounts.
  const touched = batch.touched.toSorted((a, b) => (a.book.id < b.book.id ? -1 : 1));
  return [
    batch.revision,
    uuidArray(touched.map(({ book }) => book.id)),
    int8Array(touched.map(({ revisionBefore }) => revisionBefore)),
    int8Array(touched.map(({ book }) => book.balanceMinor)),
    int8Array(touched.map(({ book }) => book.sequence)),
  ];
}

function transactionColumns(decided: readonly Decided[]): Buffer[] {
  const commands = decided.map((one) => one.command);
  const entries = decided.map(({ decision }) => ("entries" in decision ? decision.entries : undefined));
  return [
    uuidArray(commands.map((command) => command.transactionId)),
    int2Array(commands.map((command) => command.kind)),
    int2Array(entries.map((pair) => (pair === undefined ? TRANSACTION_STATE.REJECTED : TRANSACTION_STATE.POSTED))),
    uuidArray(commands.map((command) => command.caller)),
    uuidArray(commands.map((command) => command.requestId)),
    uuidArray(commands.map((command) => command.debitAccountId)),
    uuidArray(commands.map((command) => command.creditAccountId)),
    int8Array(entries.map((pair) => pair?.[0].sequence ?? null)),
    int8Array(entries.map((pair) => pair?.[1].sequence ?? null)),
    int8Array(entries.map((pair) => pair?.[0].balanceAfterMinor ?? null)),
    int8Array(entries.map((pair) => pair?.[1].balanceAfterMinor ?? null)),
    textArray(commands.map((command) => command.currencyCode)),
    int8Array(commands.map((command) => command.amountMinor)),
    textArray(commands.map((command) => command.description)),
    textArray(commands.map((command) => metadataText(command.metadata))),
    timestampArray(commands.map((command) => command.effectiveTime)),
    textArray(decided.map(({ decision }) => ("failure" in decision ? encodeFailure(decision.failure) : null))),
  ];
}

/** JSON, or null for none. */
function metadataText(metadata: Movement["metadata"]): string | null {
  for (const _ in metadata) return JSON.stringify(metadata);
  return null;
}
