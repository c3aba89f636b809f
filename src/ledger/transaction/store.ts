import { assertPresent } from "../../base/assert.js";
import { decodeFailure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import { kindFromCode, type HoldState, type TransactionKindCode } from "../../base/codes.js";
import type { Entry } from "../account/entry.js";
import { requestKey, type Leg, type RequestTerms } from "../command/command.js";
import type { Hold } from "../decide/hold.js";
import { CALLER_DATA_COLUMNS, fromCallerDataRow } from "./caller-data.js";
import { decodeExchange } from "./exchange-detail.js";
import { findLegEntries, type LegEntries } from "./leg-entries.js";
import type { LedgerTransaction } from "./transaction.js";

/** A row of TRANSACTION_COLUMNS. */
export interface TransactionRow {
  readonly id: Uuid;
  readonly journal_index: bigint;
  readonly kind: TransactionKindCode;
  readonly request_id: Uuid;
  readonly debit_account_id: Uuid;
  readonly credit_account_id: Uuid | null;
  readonly currency_code: string;
  readonly amount: bigint;
  readonly create_time: Micros;
  readonly effective_time: Micros | null;
  readonly failure: string | null;
  readonly terms: string | null;
  readonly hold_id: Uuid | null;
  readonly hold_amount: bigint | null;
  readonly hold_captured: bigint | null;
  readonly hold_state: HoldState | null;
  readonly hold_expire_time: Micros | null;
  readonly hold_account_id: Uuid | null;
  readonly hold_to_account_id: Uuid | null;
  readonly hold_currency_code: string | null;
  readonly hold_create_time: Micros | null;
  readonly reverses_id: Uuid | null;
  readonly leg_account_ids: readonly Uuid[] | null;
  readonly leg_currency_codes: readonly string[] | null;
  readonly leg_amounts: readonly string[] | null;
  readonly detail: string | null;
  readonly debit_sequence: bigint | null;
  readonly debit_amount: bigint | null;
  readonly debit_balance: bigint | null;
  readonly debit_pending_debits: bigint | null;
  readonly debit_pending_credits: bigint | null;
  readonly debit_is_wallet: boolean | null;
  readonly credit_sequence: bigint | null;
  readonly credit_amount: bigint | null;
  readonly credit_balance: bigint | null;
  readonly credit_pending_debits: bigint | null;
  readonly credit_pending_credits: bigint | null;
  readonly credit_is_wallet: boolean | null;
}

// Entries are joined by their primary key, so that the cost does not depend on the size of the ledger.
export const TRANSACTION_COLUMNS = `
SELECT t.id, t.journal_index, t.kind, t.request_id, t.debit_account_id, t.credit_account_id, t.currency_code, t.amount,
  ${CALLER_DATA_COLUMNS}, t.failure, t.terms, t.reverses_id, t.leg_account_ids::text[],
  t.leg_currency_codes, t.leg_amounts::text[], t.detail,
  t.hold_id, t.hold_amount, t.hold_captured, t.hold_state,
  (extract(epoch FROM t.hold_expire_time) * 1000000)::bigint AS hold_expire_time,
  h.account_id AS hold_account_id, h.to_account_id AS hold_to_account_id, h.currency_code AS hold_currency_code,
  (extract(epoch FROM h.create_time) * 1000000)::bigint AS hold_create_time,
  (extract(epoch FROM t.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM t.effective_time) * 1000000)::bigint AS effective_time,
  d.sequence AS debit_sequence, d.amount AS debit_amount, d.balance_after AS debit_balance,
  d.pending_debits_after AS debit_pending_debits, d.pending_credits_after AS debit_pending_credits, da.system_account IS NULL AS debit_is_wallet,
  c.sequence AS credit_sequence, c.amount AS credit_amount, c.balance_after AS credit_balance,
  c.pending_debits_after AS credit_pending_debits, c.pending_credits_after AS credit_pending_credits, ca.system_account IS NULL AS credit_is_wallet
`;
export const TRANSACTION_JOINS = `
LEFT JOIN entries d ON d.account_id = t.debit_account_id AND d.sequence = t.debit_sequence
LEFT JOIN accounts da ON da.id = t.debit_account_id
LEFT JOIN entries c ON c.account_id = t.credit_account_id AND c.sequence = t.credit_sequence
LEFT JOIN accounts ca ON ca.id = t.credit_account_id
LEFT JOIN holds h ON h.id = t.hold_id
`;
const BY_ID = `${TRANSACTION_COLUMNS} FROM transactions t ${TRANSACTION_JOINS} WHERE t.id = ANY ($1::uuid[])`;
const BY_REQUEST = `${TRANSACTION_COLUMNS}, r.caller AS of_caller, r.request_id AS of_request
FROM unnest($1::uuid[], $2::uuid[]) AS requested (caller, request_id)
JOIN requests r ON r.caller = requested.caller AND r.request_id = requested.request_id
LEFT JOIN transactions t ON t.id = r.transaction_id ${TRANSACTION_JOINS}`;

/** Finds the transactions that exist, by id. */
export async function findTransactions(client: Queryable, ids: readonly Uuid[]): Promise<Map<Uuid, LedgerTransaction>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<TransactionRow>({
    name: "transactions-by-id",
    text: BY_ID,
    values: [uuidArray(ids)],
  });
  return new Map((await toTransactions(client, rows)).map((transaction) => [transaction.id, transaction]));
}

/** Returns the transactions of rows, in their order. */
export async function toTransactions(client: Queryable, rows: readonly TransactionRow[]): Promise<LedgerTransaction[]> {
  const entries = await findLegEntries(client, listIdsWithLegs(rows));
  return rows.map((row) => toTransaction(row, entries));
}

/**
 * Finds the transactions of answered requests, by requestKey(); null for a request that has none. Unanswered requests are left out.
 */
export async function findAnswers(
  client: Queryable,
  requests: readonly { readonly caller: Uuid; readonly requestId: Uuid }[],
): Promise<Map<string, LedgerTransaction | null>> {
  if (requests.length === 0) return new Map();
  const { rows } = await client.query<TransactionRow & { id: Uuid | null; of_caller: Uuid; of_request: Uuid }>({
    name: "transactions-by-request",
    text: BY_REQUEST,
    values: [
      uuidArray(requests.map((request) => request.caller)),
      uuidArray(requests.map((request) => request.requestId)),
    ],
  });
  const entries = await findLegEntries(client, listIdsWithLegs(rows));
  return new Map(
    rows.map((row) => [
      requestKey({ caller: row.of_caller, requestId: row.of_request }),
      row.id === null ? null : toTransaction({ ...row, id: row.id }, entries),
    ]),
  );
}

function listIdsWithLegs(rows: readonly { readonly id: Uuid | null; readonly leg_account_ids: unknown }[]): Uuid[] {
  return rows.flatMap(({ id, leg_account_ids: legs }) => (id === null || legs === null ? [] : [id]));
}

function toTransaction(row: TransactionRow, legEntries: LegEntries): LedgerTransaction {
  return {
    id: row.id,
    journalIndex: row.journal_index,
    kind: kindFromCode(row.kind),
    requestId: row.request_id,
    data: fromCallerDataRow(row),
    debitAccountId: row.debit_account_id,
    creditAccountId: row.credit_account_id,
    currencyCode: row.currency_code,
    amountMinor: row.amount,
    createTime: row.create_time,
    effectiveTime: row.effective_time,
    failure: row.failure === null ? null : decodeFailure(row.failure),
    requestTerms: row.terms === null ? null : (JSON.parse(row.terms) as RequestTerms),
    holdId: row.hold_id,
    hold: toHold(row),
    reversesId: row.reverses_id,
    legs: toLegs(row),
    exchange:
      row.detail === null
        ? null
        : decodeExchange(row.detail, { currencyCode: row.currency_code, amountMinor: row.amount }),
    entries: legEntries.get(row.id) ?? [
      ...toEntries(row, row.debit_account_id, {
        amountMinor: row.debit_amount,
        sequence: row.debit_sequence,
        balanceAfterMinor: row.debit_balance,
        pendingDebitsAfterMinor: row.debit_pending_debits,
        pendingCreditsAfterMinor: row.debit_pending_credits,
        isWallet: row.debit_is_wallet,
      }),
      ...toEntries(row, row.credit_account_id, {
        amountMinor: row.credit_amount,
        sequence: row.credit_sequence,
        balanceAfterMinor: row.credit_balance,
        pendingDebitsAfterMinor: row.credit_pending_debits,
        pendingCreditsAfterMinor: row.credit_pending_credits,
        isWallet: row.credit_is_wallet,
      }),
    ],
  };
}

/** Returns the hold right after this step; null when the transaction is no step of a hold, or was rejected. */
function toHold(row: TransactionRow): Hold | null {
  if (row.hold_id === null || row.hold_state === null || row.hold_account_id === null) return null;
  return {
    id: row.hold_id,
    accountId: row.hold_account_id,
    toAccountId: row.hold_to_account_id,
    currencyCode: row.hold_currency_code ?? row.currency_code,
    amountMinor: row.hold_amount ?? 0n,
    capturedMinor: row.hold_captured ?? 0n,
    state: row.hold_state,
    expireTime: row.hold_expire_time,
    expiresInMicros: null,
    createTime: row.hold_create_time,
    updateTime: row.create_time,
  };
}

function toLegs({
  leg_account_ids: ids,
  leg_currency_codes: codes,
  leg_amounts: amounts,
}: TransactionRow): readonly Leg[] | null {
  if (ids === null) return null;
  return ids.map((accountId, index) => ({
    accountId,
    currencyCode: assertPresent(codes?.[index], "the currency of a leg"),
    amountMinor: BigInt(assertPresent(amounts?.[index], "the amount of a leg")),
  }));
}

function toEntries(
  { currency_code: currencyCode }: TransactionRow,
  accountId: Uuid | null,
  row: { readonly [Name in keyof Omit<Entry, "accountId" | "currencyCode">]: Entry[Name] | null },
): Entry[] {
  const { amountMinor, sequence, balanceAfterMinor } = row;
  if (accountId === null || sequence === null || amountMinor === null || balanceAfterMinor === null) return [];
  return [
    {
      accountId,
      currencyCode,
      isWallet: row.isWallet === true,
      sequence,
      amountMinor,
      balanceAfterMinor,
      pendingDebitsAfterMinor: row.pendingDebitsAfterMinor ?? 0n,
      pendingCreditsAfterMinor: row.pendingCreditsAfterMinor ?? 0n,
    },
  ];
}
