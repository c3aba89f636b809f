import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { ANSWER_BYTES_MAX } from "../../base/room.js";
import { toIso, type Micros } from "../../base/time.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import { kindFromCode, TRANSACTION_STATE, type TransactionKindCode, type TransactionState } from "../../base/codes.js";
import { matchesFilter, type Candidate, type TransactionFilter } from "./filter.js";
import { LATEST_METADATA } from "./metadata.js";
import { findShown, type ShownTransaction } from "./shown.js";
import { listAccounts, type LedgerTransaction } from "./transaction.js";
import { walkFurthest } from "./walks.js";

/** A page of transactions, newest first, with the journal index below which the next page begins, if any. */
export interface TransactionPage {
  readonly transactions: readonly ShownTransaction[];
  readonly nextBelow: bigint | undefined;
}

const INDEX_FROM_TIME = "SELECT journal_index_from_time($1::timestamptz) AS index";

/** The number of transactions that a call examines for each one requested, and at least, before it returns a page that is not full. */
const EXAMINED_PER_RESULT_MAX = 20;
const EXAMINED_MIN = 1_000;
/** The number of transactions examined together: their metadata is held in memory. */
const EXAMINED_BATCH = 200;
/** An upper bound of an entry's size in a response. */
const ENTRY_BYTES_MAX = 112;
/** The number of transactions that are read before they are examined. */
const READ_AT_ONCE_MAX = 101;
/** The most reversals of a transaction that a page names, the latest ones: clients accept messages of 4 MiB. */
const REVERSALS_LISTED_MAX = 20;
const LAST_INDEX = 2n ** 63n - 1n;

/**
 * Lists the transactions that match the filter, newest first.
 * @param below selects journal indexes below this one; undefined for the first page
 * @param pageSize more than 0; the page is shorter when it would exceed about ANSWER_BYTES_MAX
 */
export async function listTransactions(
  client: Queryable,
  filter: TransactionFilter,
  below: bigint | undefined,
  pageSize: number,
): Promise<TransactionPage> {
  const from = filter.from === null ? 0n : await findIndexFromTime(client, filter.from);
  const end = filter.before === null ? LAST_INDEX : await findIndexFromTime(client, filter.before);
  const range = { below: below === undefined || below > end ? end : below, from };
  const shown = new Map<Uuid, ShownTransaction>();
  const { ids, nextBelow } = await findIds(client, filter, range, pageSize, shown);
  const others = await findShown(
    client,
    ids.filter((id) => !shown.has(id)),
    REVERSALS_LISTED_MAX,
  );
  const transactions = ids.map((id) => assertPresent(shown.get(id) ?? others.get(id), "a listed transaction"));
  return { transactions, nextBelow };
}

/**
 * Walks down the journal until the page is full, the walk ends, or the call has examined enough.
 * @param shown receives what was read in full: most pages are what the walk meets first
 */
async function findIds(
  client: Queryable,
  filter: TransactionFilter,
  { below, from }: { readonly below: bigint; readonly from: bigint },
  pageSize: number,
  shown: Map<Uuid, ShownTransaction>,
): Promise<{ readonly ids: readonly Uuid[]; readonly nextBelow: bigint | undefined }> {
  const ids: Uuid[] = [];
  const examinedMax = Math.max(EXAMINED_PER_RESULT_MAX * pageSize, EXAMINED_MIN);
  let next = below;
  let bytes = 0;
  // One more than the page shows whether there is another page.
  let limit = Math.min(pageSize + 1, EXAMINED_BATCH);
  for (let examined = 0; examined < examinedMax; examined += limit) {
    if (examined > 0) limit = EXAMINED_BATCH;
    const rows = await walkFurthest(client, filter, { below: next, from, limit });
    const distinct = rows.filter(({ id }, index) => id === null || id !== rows[index - 1]?.id);
    const walked = distinct.flatMap(({ id }) => (id === null ? [] : [id]));
    const candidates = new Map<Uuid, Candidate>();
    if (examined === 0 && walked.length <= READ_AT_ONCE_MAX) {
      for (const [id, one] of await findShown(client, walked, REVERSALS_LISTED_MAX)) {
        shown.set(id, one);
        candidates.set(id, toCandidate(one.transaction));
      }
    } else for (const [id, candidate] of await findCandidates(client, walked)) candidates.set(id, candidate);
    for (const { id, journal_index: index } of distinct) {
      const candidate = id === null ? undefined : candidates.get(id);
      if (id === null || candidate === undefined || !matchesFilter(filter, candidate)) continue;
      // The remaining rows belong to the next page.
      bytes += estimateBytes(candidate);
      if (ids.length === pageSize || (ids.length > 0 && bytes > ANSWER_BYTES_MAX)) return { ids, nextBelow: next };
      ids.push(id);
      next = index;
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < limit) return { ids, nextBelow: undefined };
    next = last.journal_index;
  }
  return { ids, nextBelow: next };
}

/** Estimates the transaction's size in a response. */
function estimateBytes({ accountIds, metadata, description }: Candidate): number {
  return (
    accountIds.length * ENTRY_BYTES_MAX + Buffer.byteLength(JSON.stringify(metadata)) + Buffer.byteLength(description)
  );
}

// By primary keys, also of the latest change of metadata.
const CANDIDATES = `
SELECT t.id, t.kind, t.state, t.currency_code, t.amount, t.description, t.external_reference,
  coalesce(latest.metadata, t.metadata) AS metadata, t.debit_account_id, t.credit_account_id,
  t.leg_account_ids::text[] AS leg_account_ids
FROM transactions t LEFT JOIN LATERAL (${LATEST_METADATA}) latest ON true WHERE t.id = ANY ($1::uuid[])`;

async function findCandidates(client: Queryable, ids: readonly Uuid[]): Promise<Map<Uuid, Candidate>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<{
    id: Uuid;
    kind: TransactionKindCode;
    state: TransactionState;
    currency_code: string;
    amount: bigint;
    description: string;
    external_reference: string | null;
    metadata: Record<string, string> | null;
    debit_account_id: Uuid;
    credit_account_id: Uuid | null;
    leg_account_ids: readonly Uuid[] | null;
  }>({ name: "transactions-candidates", text: CANDIDATES, values: [uuidArray(ids)] });
  return new Map(
    rows.map((row) => [
      row.id,
      {
        kind: kindFromCode(row.kind),
        state: row.state,
        currencyCode: row.currency_code,
        amountMinor: row.amount,
        description: row.description,
        externalReference: row.external_reference ?? "",
        metadata: row.metadata ?? {},
        accountIds: [row.debit_account_id, row.credit_account_id, ...(row.leg_account_ids ?? [])],
      },
    ]),
  );
}

function toCandidate(transaction: LedgerTransaction): Candidate {
  const { kind, failure, currencyCode, amountMinor, data } = transaction;
  const state = failure === null ? TRANSACTION_STATE.POSTED : TRANSACTION_STATE.REJECTED;
  return { kind, state, currencyCode, amountMinor, ...data, accountIds: listAccounts(transaction) };
}

/** Finds the first journal index at this time or later. */
async function findIndexFromTime(client: Queryable, time: Micros): Promise<bigint> {
  const { rows } = await client.query<{ index: bigint }>({
    name: "journal-index-from-time",
    text: INDEX_FROM_TIME,
    values: [toIso(time)],
  });
  return assertPresent(rows[0], "a journal index").index;
}
