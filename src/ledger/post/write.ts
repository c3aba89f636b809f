import type { QueryResultRow } from "pg";
import { assertPresent } from "../../base/assert.js";
import type { Micros } from "../../base/time.js";
import { int2Array, uuidArray } from "../../db/binary-array.js";
import type { JournalRecord } from "../../journal/append.js";
import type { DecidedCommand } from "../decide/decision.js";
import { assertBalanced } from "../decide/double-entry.js";
import { settleHold } from "../decide/hold.js";
import type { LedgerTransaction } from "../transaction/transaction.js";
import type { Batch } from "./batch.js";
import {
  getHoldId,
  getReversedId,
  toAccountColumns,
  toHoldColumns,
  toLegColumns,
  toPendingColumns,
  toReferenceColumn,
  toTransactionColumns,
  toUsageColumns,
  toValidUntil,
} from "./columns.js";

/** Sends the one statement that writes a batch: a connection inside a transaction, or the posting connection. */
export interface Writer {
  query<Row extends QueryResultRow>(query: { name: string; text: string; values: unknown[] }): Promise<{ rows: Row[] }>;
}

/** Additions to a batch. */
export interface WriteOptions {
  /** Whether the batch claims its request ids; false when the caller has claimed them. */
  readonly claims?: boolean;
  /** Journal records that precede those of the transactions. */
  readonly leading?: readonly JournalRecord[];
}

/** The place in the journal and the time at which a batch was recorded. */
export interface JournalPlace {
  readonly firstIndex: bigint;
  readonly createTime: Micros;
}

const POST_BATCH = `
SELECT first_index, create_time_micros FROM post_batch(
  $1::boolean, $2::bigint, $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
  $9::uuid[], $10::smallint[], $11::smallint[], $12::uuid[], $13::uuid[], $14::uuid[], $15::uuid[], $16::bigint[],
  $17::bigint[], $18::bigint[], $19::bigint[], $20::text[], $21::bigint[], $22::text[], $23::text[],
  $24::timestamptz[], $25::text[], $26::text[], $27::uuid[], $28::bigint[], $29::bigint[], $30::bigint[],
  $31::bigint[], $32::bigint[], $33::uuid[], $34::bigint[], $35::bigint[], $36::smallint[], $37::timestamptz[],
  $38::bigint[], $39::uuid[], $40::bigint[], $41::smallint[], $42::uuid[], $43::uuid[], $44::text[], $45::bigint[],
  $46::bigint[], $47::smallint[], $48::timestamptz[], $49::bigint[], $50::uuid[], $51::smallint[], $52::text[],
  $53::text[], $54::text[], $55::text[], $56::text[], $57::text[], $58::text[], $59::text[], $60::text[],
  $61::uuid[], $62::text[], $63::bigint[], $64::bigint[], $65::bigint[], $66::timestamptz)`;

/**
 * Writes decisions: transactions, entries, balances, requests and the journal, all or nothing.
 *
 * Fails with serialization_failure when an account or hold that a decision has read has changed since, or a hold or a quote has
 * expired meanwhile, and with unique_violation of requests_pkey when a request id was used before; then nothing is written.
 */
export async function writeBatch(
  client: Writer,
  batch: Batch,
  decided: readonly DecidedCommand[],
  { claims = true, leading = [] }: WriteOptions = {},
): Promise<JournalPlace> {
  for (const { decision } of decided) if ("entries" in decision) assertBalanced(decision.entries);
  const { rows } = await client.query<{ first_index: bigint; create_time_micros: bigint }>({
    name: "post-batch",
    text: POST_BATCH,
    values: [
      claims,
      ...toAccountColumns(batch),
      ...toTransactionColumns(decided),
      ...toPendingColumns(decided),
      ...toHoldColumns(batch),
      uuidArray(leading.map((record) => record.id)),
      int2Array(leading.map((record) => record.type)),
      toReferenceColumn(decided),
      ...toLegColumns(decided),
      ...toUsageColumns(batch),
      toValidUntil(decided),
    ],
  });
  const row = assertPresent(rows[0], "the batch's place in the journal");
  return { firstIndex: row.first_index, createTime: row.create_time_micros };
}

/** Returns the transactions that a batch has recorded, in the order of its decisions. */
export function toTransactions(
  decided: readonly DecidedCommand[],
  { firstIndex, createTime }: JournalPlace,
): LedgerTransaction[] {
  return decided.map(({ command, decision }, index) => {
    const { movement } = decision;
    const isPosted = "entries" in decision;
    return {
      id: command.transactionId,
      journalIndex: firstIndex + BigInt(index),
      createTime,
      kind: movement.kind,
      debitAccountId: movement.debitAccountId,
      creditAccountId: movement.creditAccountId,
      currencyCode: movement.currencyCode,
      amountMinor: movement.amountMinor,
      effectiveTime: movement.effectiveTime,
      legs: movement.legs,
      exchange: movement.exchange,
      requestId: command.requestId,
      description: command.description,
      metadata: command.metadata,
      externalReference: command.externalReference,
      requestTerms: command.requestTerms,
      entries: isPosted ? decision.entries : [],
      failure: isPosted ? null : decision.failure,
      holdId: getHoldId(command, isPosted),
      hold: isPosted && decision.hold !== null ? settleHold(decision.hold, createTime) : null,
      reversesId: getReversedId(command),
    };
  });
}
