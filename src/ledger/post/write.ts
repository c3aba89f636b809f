import type { QueryResultRow } from "pg";
import { assertPresent } from "../../base/assert.js";
import type { Micros } from "../../base/time.js";
import { int2Array, uuidArray } from "../../db/binary-array.js";
import type { JournalRecord } from "../../journal/append.js";
import type { Entry } from "../account/entry.js";
import type { DecidedCommand } from "../decide/decision.js";
import { assertBalanced } from "../decide/double-entry.js";
import { settleHold } from "../decide/hold.js";
import { CALLER_DATA_PARAMETERS, toCallerDataColumns } from "../transaction/caller-data.js";
import type { LedgerTransaction } from "../transaction/transaction.js";
import type { Batch } from "./batch.js";
import {
  HOLD_PARAMETERS,
  LEG_PARAMETERS,
  PENDING_PARAMETERS,
  TRANSACTION_PARAMETERS,
  USAGE_PARAMETERS,
  getHoldId,
  getReversedId,
  toHoldColumns,
  toLegColumns,
  toPendingColumns,
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
  /** True when the batch claims its request ids; false when the caller has claimed them. */
  readonly claims?: boolean;
  /** Journal records that precede those of the transactions. */
  readonly leading?: readonly JournalRecord[];
}

/** The place in the journal and the time at which a batch was recorded. */
export interface JournalPlace {
  readonly firstIndex: bigint;
  readonly createTime: Micros;
}

/** The parameters of post_batch(), by their names, in the order of writeBatch()'s values. */
const PARAMETERS = {
  p_claims: "boolean",
  p_revision: "bigint",
  p_revision_before: "bigint",
  ...TRANSACTION_PARAMETERS,
  ...CALLER_DATA_PARAMETERS,
  ...PENDING_PARAMETERS,
  ...HOLD_PARAMETERS,
  p_leading_ids: "uuid[]",
  p_leading_types: "smallint[]",
  ...LEG_PARAMETERS,
  ...USAGE_PARAMETERS,
  p_valid_until: "timestamptz",
};
const POST_BATCH = `SELECT first_index, create_time_micros FROM post_batch(
  ${Object.entries(PARAMETERS)
    .map(([name, type], index) => `${name} => $${index + 1}::${type}`)
    .join(", ")})`;

/**
 * Writes decisions: transactions, entries, balances, requests and the journal, all or nothing.
 *
 * Fails with serialization_failure when the ledger has changed since the decisions were made, or a hold or a quote has expired
 * meanwhile, and with unique_violation of requests_pkey when a request id was used before; then nothing is written.
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
      batch.revision,
      batch.revisionBefore,
      ...toTransactionColumns(decided),
      ...toCallerDataColumns(decided.map(({ command }) => command.data)),
      ...toPendingColumns(decided),
      ...toHoldColumns(batch),
      uuidArray(leading.map((record) => record.id)),
      int2Array(leading.map((record) => record.type)),
      ...toLegColumns(decided),
      ...toUsageColumns(batch),
      toValidUntil(decided),
    ],
  });
  const row = assertPresent(rows[0], "the batch's place in the journal");
  return { firstIndex: row.first_index, createTime: row.create_time_micros };
}

const NO_ENTRIES: readonly Entry[] = [];

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
      data: command.data,
      requestTerms: command.requestTerms,
      entries: isPosted ? decision.entries : NO_ENTRIES,
      failure: isPosted ? null : decision.failure,
      holdId: getHoldId(command, isPosted),
      hold: isPosted && decision.hold !== null ? settleHold(decision.hold, createTime) : null,
      reversesId: getReversedId(command),
    };
  });
}
