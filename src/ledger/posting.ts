import { present } from "../base/assert.js";
import { encodeFailure, type Failure } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import { toIso, type Micros } from "../base/time.js";
import { int2Array, int8Array, textArray, timestampArray, uuidArray } from "../db/binary-array.js";
import type { Queryable } from "../db/database.js";
import type { AccountState, NormalSide } from "../entities/account.js";
import { RECORD_TYPE } from "../entities/journal.js";
import { REQUEST_METHOD } from "../entities/request.js";
import { TRANSACTION_STATE } from "../entities/transaction.js";
import { appendRecords } from "../journal/append.js";
import { findTransactionsByRequest, requestKey } from "./find.js";
import { decide, type Book, type Books, type Decision } from "./rules.js";
import type { Command, LedgerTransaction, Movement } from "./transaction.js";

/** What came of a command: its transaction, posted or rejected, or that its request_id was used by another request. */
export type Outcome =
  | { readonly transaction: LedgerTransaction; readonly replayed: boolean }
  | { readonly failure: Failure };

/**
 * Posts the commands, in their order, in the caller's database transaction; nothing counts until that commits.
 *
 *   lock     the accounts of all commands, in id order
 *   claim    the request ids, in order; those that were claimed before are answered from what they made
 *   decide   each command in memory, with the pure rules
 *   append   one journal record for each new transaction; the head stays locked until the end
 *   write    transactions, entries and balances, each with one set-based statement
 *
 * @param claims false when the caller has claimed the commands' request ids itself
 * @returns an outcome for each command, in the same order
 */
export async function postTransactions(
  client: Queryable,
  commands: readonly Command[],
  { claims = true }: { readonly claims?: boolean } = {},
): Promise<Outcome[]> {
  const books = await lockBooks(client, commands);
  const isNew = claims ? await claimRequests(client, commands) : new Set(commands);
  const decided = commands
    .filter((command) => isNew.has(command))
    .map((command) => ({ command, decision: decide(books, command) }));
  const posted = decided.length === 0 ? [] : await write(client, books, decided);
  const byCommand = new Map(decided.map(({ command }, index) => [command, present(posted[index], "a transaction")]));
  const repeated = commands.filter((command) => !isNew.has(command));
  const stored = await findTransactionsByRequest(client, repeated);
  return commands.map((command) => {
    const transaction = byCommand.get(command);
    return transaction === undefined
      ? replay(command, stored.get(requestKey(command)))
      : { transaction, replayed: false };
  });
}

/** The answer to a request whose id was claimed before, by the transaction that it made, if it made one. */
export function replay(command: Command, stored: LedgerTransaction | undefined): Outcome {
  const differs = stored === undefined ? ["method"] : differences(command, stored);
  if (stored === undefined || differs.length > 0) {
    return { failure: { reason: "REQUEST_ID_REUSED", requestId: command.requestId, differs } };
  }
  return { transaction: stored, replayed: true };
}

/** The contract's names of the fields in which a request differs from the one that was answered under its id. */
function differences(command: Movement, stored: Movement): string[] {
  if (command.kind !== stored.kind) return ["method"];
  const names = FIELD_NAMES[command.kind];
  return [
    ...(command.debitAccountId === stored.debitAccountId ? [] : [names.debit]),
    ...(command.creditAccountId === stored.creditAccountId ? [] : [names.credit]),
    ...(command.currencyCode === stored.currencyCode ? [] : ["amount.currency_code"]),
    ...(command.amountMinor === stored.amountMinor ? [] : ["amount.minor_units"]),
    ...(command.description === stored.description ? [] : ["description"]),
    ...(sameMetadata(command.metadata, stored.metadata) ? [] : ["metadata"]),
    ...(command.effectiveTime === stored.effectiveTime ? [] : ["effective_time"]),
  ];
}

// By TransactionKind. The system account follows from currency and name, so another currency makes it differ too.
const FIELD_NAMES = {
  1: { debit: "system_account", credit: "wallet_id" },
  2: { debit: "system_account", credit: "wallet_id" },
  3: { debit: "wallet_id", credit: "system_account" },
  4: { debit: "from_wallet_id", credit: "to_wallet_id" },
} as const satisfies Record<Movement["kind"], { debit: string; credit: string }>;

function sameMetadata(a: Movement["metadata"], b: Movement["metadata"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

// Lock order: accounts by id; then requests; then the journal's head.
const LOCK_ACCOUNTS = `
SELECT id, system_account IS NULL AS is_wallet, currency_code, normal_side, state, balance, pending_debits,
  pending_credits, min_balance, max_balance, sequence,
  (extract(epoch FROM last_entry_time) * 1000000)::bigint AS last_entry_time
FROM accounts WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`;

interface AccountRow {
  readonly id: Uuid;
  readonly is_wallet: boolean;
  readonly currency_code: string;
  readonly normal_side: NormalSide;
  readonly state: AccountState;
  readonly balance: bigint;
  readonly pending_debits: bigint;
  readonly pending_credits: bigint;
  readonly min_balance: bigint | null;
  readonly max_balance: bigint | null;
  readonly sequence: bigint;
  readonly last_entry_time: Micros | null;
}

async function lockBooks(client: Queryable, commands: readonly Command[]): Promise<Books> {
  const ids = new Set(commands.flatMap((command) => [command.debitAccountId, command.creditAccountId]));
  const { rows } = await client.query<AccountRow>({
    name: "posting-lock",
    text: LOCK_ACCOUNTS,
    values: [uuidArray([...ids])],
  });
  return new Map(rows.map((row) => [row.id, bookOf(row)]));
}

function bookOf(row: AccountRow): Book {
  return {
    id: row.id,
    isWallet: row.is_wallet,
    currencyCode: row.currency_code,
    normalSide: row.normal_side,
    state: row.state,
    balanceMinor: row.balance,
    pendingDebitsMinor: row.pending_debits,
    pendingCreditsMinor: row.pending_credits,
    minBalanceMinor: row.min_balance,
    maxBalanceMinor: row.max_balance,
    sequence: row.sequence,
    lastEntryTime: row.last_entry_time,
  };
}

// Waits for a concurrent transaction that claims the same id, and then sees what it made.
const CLAIM_REQUESTS = `
INSERT INTO requests (caller, request_id, method, transaction_id)
SELECT caller, request_id, ${REQUEST_METHOD.POST}, transaction_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS claim (caller, request_id, transaction_id)
ORDER BY caller, request_id
ON CONFLICT DO NOTHING
RETURNING transaction_id`;

/** The commands whose request ids were not used before; of two with the same id, the first. */
async function claimRequests(client: Queryable, commands: readonly Command[]): Promise<Set<Command>> {
  const first = new Map<string, Command>();
  for (const command of commands) if (!first.has(requestKey(command))) first.set(requestKey(command), command);
  const candidates = [...first.values()];
  const { rows } = await client.query<{ transaction_id: Uuid }>({
    name: "posting-claim",
    text: CLAIM_REQUESTS,
    values: [
      uuidArray(candidates.map((command) => command.caller)),
      uuidArray(candidates.map((command) => command.requestId)),
      uuidArray(candidates.map((command) => command.transactionId)),
    ],
  });
  const claimed = new Set(rows.map((row) => row.transaction_id));
  return new Set(candidates.filter((command) => claimed.has(command.transactionId)));
}

const WRITE = `
WITH new_transactions AS (
  INSERT INTO transactions (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata, create_time, effective_time, failure)
  SELECT id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, metadata::jsonb, $1::timestamptz, effective_time, failure
  FROM unnest($2::uuid[], $3::bigint[], $4::smallint[], $5::smallint[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[],
    $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::timestamptz[], $17::text[])
    AS t (id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
      debit_sequence, credit_sequence, currency_code, amount, description, metadata, effective_time, failure)
), new_entries AS (
  INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time)
  SELECT account_id, sequence, transaction_id, journal_index, amount, balance_after, $1::timestamptz
  FROM unnest($18::uuid[], $19::bigint[], $20::uuid[], $21::bigint[], $22::bigint[], $23::bigint[])
    AS e (account_id, sequence, transaction_id, journal_index, amount, balance_after)
)
UPDATE accounts a
SET balance = b.balance, sequence = b.sequence, revision = a.revision + 1, last_entry_time = $1::timestamptz
FROM unnest($24::uuid[], $25::bigint[], $26::bigint[]) AS b (id, balance, sequence)
WHERE a.id = b.id`;

interface Decided {
  readonly command: Command;
  readonly decision: Decision;
}

async function write(client: Queryable, books: Books, decided: readonly Decided[]): Promise<LedgerTransaction[]> {
  const appended = await appendRecords(
    client,
    decided.map(({ command, decision }) => ({
      id: command.transactionId,
      type: "entries" in decision ? RECORD_TYPE.TRANSACTION_POSTED : RECORD_TYPE.TRANSACTION_REJECTED,
    })),
  );
  // The entries of one account never go back in time, whatever the database's clock does.
  const createTime = latest(appended.now, books);
  const transactions = decided.map((one, index) => record(one, appended.firstIndex + BigInt(index), createTime));
  await client.query({
    name: "posting-write",
    text: WRITE,
    values: [
      toIso(createTime),
      ...transactionColumns(decided, transactions),
      ...entryColumns(transactions),
      ...bookColumns(books, transactions),
    ],
  });
  return transactions;
}

function latest(now: Micros, books: Books): Micros {
  let time = now;
  for (const { lastEntryTime } of books.values()) if (lastEntryTime !== null && lastEntryTime > time) time = lastEntryTime;
  return time;
}

function record({ command, decision }: Decided, journalIndex: bigint, createTime: Micros): LedgerTransaction {
  return {
    id: command.transactionId,
    journalIndex,
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
  };
}

function transactionColumns(decided: readonly Decided[], transactions: readonly LedgerTransaction[]): Buffer[] {
  return [
    uuidArray(transactions.map((t) => t.id)),
    int8Array(transactions.map((t) => t.journalIndex)),
    int2Array(transactions.map((t) => t.kind)),
    int2Array(transactions.map((t) => (t.failure === null ? TRANSACTION_STATE.POSTED : TRANSACTION_STATE.REJECTED))),
    uuidArray(decided.map(({ command }) => command.caller)),
    uuidArray(transactions.map((t) => t.requestId)),
    uuidArray(transactions.map((t) => t.debitAccountId)),
    uuidArray(transactions.map((t) => t.creditAccountId)),
    int8Array(transactions.map((t) => t.entries[0]?.sequence ?? null)),
    int8Array(transactions.map((t) => t.entries[1]?.sequence ?? null)),
    textArray(transactions.map((t) => t.currencyCode)),
    int8Array(transactions.map((t) => t.amountMinor)),
    textArray(transactions.map((t) => t.description)),
    textArray(transactions.map((t) => metadataText(t.metadata))),
    timestampArray(transactions.map((t) => t.effectiveTime)),
    textArray(transactions.map((t) => (t.failure === null ? null : encodeFailure(t.failure)))),
  ];
}

function metadataText(metadata: Movement["metadata"]): string | null {
  for (const _ in metadata) return JSON.stringify(metadata);
  return null;
}

function entryColumns(transactions: readonly LedgerTransaction[]): Buffer[] {
  const entries = transactions.flatMap((transaction) => transaction.entries.map((entry) => ({ entry, transaction })));
  return [
    uuidArray(entries.map(({ entry }) => entry.accountId)),
    int8Array(entries.map(({ entry }) => entry.sequence)),
    uuidArray(entries.map(({ transaction }) => transaction.id)),
    int8Array(entries.map(({ transaction }) => transaction.journalIndex)),
    int8Array(entries.map(({ entry }) => entry.amountMinor)),
    int8Array(entries.map(({ entry }) => entry.balanceAfterMinor)),
  ];
}

/** One net row for each account that has a new entry. */
function bookColumns(books: Books, transactions: readonly LedgerTransaction[]): Buffer[] {
  const ids = new Set(transactions.flatMap((transaction) => transaction.entries.map((entry) => entry.accountId)));
  const changed = [...ids].map((id) => present(books.get(id), "a posted account"));
  return [
    uuidArray(changed.map((book) => book.id)),
    int8Array(changed.map((book) => book.balanceMinor)),
    int8Array(changed.map((book) => book.sequence)),
  ];
}
