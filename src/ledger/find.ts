import { decodeFailure } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import type { Micros } from "../base/time.js";
import { uuidArray } from "../db/binary-array.js";
import type { Queryable } from "../db/database.js";
import type { TransactionKind } from "../entities/transaction.js";
import type { Entry, LedgerTransaction } from "./transaction.js";

interface Row {
  readonly id: Uuid;
  readonly journal_index: bigint;
  readonly kind: TransactionKind;
  readonly request_id: Uuid;
  readonly debit_account_id: Uuid;
  readonly credit_account_id: Uuid;
  readonly currency_code: string;
  readonly amount: bigint;
  readonly description: string;
  readonly metadata: Record<string, string> | null;
  readonly create_time: Micros;
  readonly effective_time: Micros | null;
  readonly failure: string | null;
  readonly debit_sequence: bigint | null;
  readonly debit_amount: bigint | null;
  readonly debit_balance: bigint | null;
  readonly debit_is_wallet: boolean | null;
  readonly credit_sequence: bigint | null;
  readonly credit_amount: bigint | null;
  readonly credit_balance: bigint | null;
  readonly credit_is_wallet: boolean | null;
}

// A transaction's entries are found by their primary key, so the cost does not depend on how many there are.
const COLUMNS = `
SELECT t.id, t.journal_index, t.kind, t.request_id, t.debit_account_id, t.credit_account_id, t.currency_code, t.amount,
  t.description, t.metadata, t.failure,
  (extract(epoch FROM t.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM t.effective_time) * 1000000)::bigint AS effective_time,
  d.sequence AS debit_sequence, d.amount AS debit_amount, d.balance_after AS debit_balance, da.system_account IS NULL AS debit_is_wallet,
  c.sequence AS credit_sequence, c.amount AS credit_amount, c.balance_after AS credit_balance, ca.system_account IS NULL AS credit_is_wallet
`;
const JOINS = `
LEFT JOIN entries d ON d.account_id = t.debit_account_id AND d.sequence = t.debit_sequence
LEFT JOIN accounts da ON da.id = t.debit_account_id
LEFT JOIN entries c ON c.account_id = t.credit_account_id AND c.sequence = t.credit_sequence
LEFT JOIN accounts ca ON ca.id = t.credit_account_id
`;
const BY_ID = `${COLUMNS} FROM unnest($1::uuid[]) AS wanted (id) JOIN transactions t ON t.id = wanted.id ${JOINS}`;
const BY_REQUEST = `${COLUMNS}, r.caller AS of_caller, r.request_id AS of_request
FROM unnest($1::uuid[], $2::uuid[]) AS wanted (caller, request_id)
JOIN requests r ON r.caller = wanted.caller AND r.request_id = wanted.request_id
LEFT JOIN transactions t ON t.id = r.transaction_id ${JOINS}`;

/** The transactions that exist of these ids, by id. */
export async function findTransactions(client: Queryable, ids: readonly Uuid[]): Promise<Map<Uuid, LedgerTransaction>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<Row>({ name: "transactions-by-id", text: BY_ID, values: [uuidArray(ids)] });
  return new Map(rows.map((row) => [row.id, fromRow(row)]));
}

/** What the callers' requests made, by requestKey(): a transaction, or null. A request that was never answered is left out. */
export async function findAnswered(
  client: Queryable,
  requests: readonly { readonly caller: Uuid; readonly requestId: Uuid }[],
): Promise<Map<string, LedgerTransaction | null>> {
  if (requests.length === 0) return new Map();
  const { rows } = await client.query<Row & { id: Uuid | null; of_caller: Uuid; of_request: Uuid }>({
    name: "transactions-by-request",
    text: BY_REQUEST,
    values: [
      uuidArray(requests.map((request) => request.caller)),
      uuidArray(requests.map((request) => request.requestId)),
    ],
  });
  return new Map(
    rows.map((row) => [
      requestKey({ caller: row.of_caller, requestId: row.of_request }),
      row.id === null ? null : fromRow(row),
    ]),
  );
}

/** One text for what names a request. */
export function requestKey({ caller, requestId }: { readonly caller: Uuid; readonly requestId: Uuid }): string {
  return `${caller}/${requestId}`;
}

function fromRow(row: Row): LedgerTransaction {
  return {
    id: row.id,
    journalIndex: row.journal_index,
    kind: row.kind,
    requestId: row.request_id,
    debitAccountId: row.debit_account_id,
    creditAccountId: row.credit_account_id,
    currencyCode: row.currency_code,
    amountMinor: row.amount,
    description: row.description,
    metadata: row.metadata ?? {},
    createTime: row.create_time,
    effectiveTime: row.effective_time,
    failure: row.failure === null ? null : decodeFailure(row.failure),
    entries: [
      ...entry(row.debit_account_id, row.debit_amount, row.debit_sequence, row.debit_balance, row.debit_is_wallet),
      ...entry(row.credit_account_id, row.credit_amount, row.credit_sequence, row.credit_balance, row.credit_is_wallet),
    ],
  };
}

function entry(
  accountId: Uuid,
  amountMinor: bigint | null,
  sequence: bigint | null,
  balanceAfterMinor: bigint | null,
  isWallet: boolean | null,
): Entry[] {
  if (sequence === null || amountMinor === null || balanceAfterMinor === null) return [];
  return [{ accountId, isWallet: isWallet === true, sequence, amountMinor, balanceAfterMinor }];
}
