import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { ANSWER_BYTES_MAX } from "../../base/room.js";
import { toIso, type Micros } from "../../base/time.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import { kindFromCode, type TransactionKindCode, type TransactionState } from "../../base/codes.js";
import { matchesFilter, type Candidate, type TransactionFilter } from "./filter.js";
import { findTransactions } from "./rows.js";
import { LATEST_METADATA, withMetadata } from "./metadata.js";
import type { LedgerTransaction } from "./transaction.js";
import { walkFurthest } from "./walks.js";

/** A page of transactions, newest first, and the journal index below which the next page starts, if there is one. */
export interface TransactionPage {
  readonly transactions: readonly LedgerTransaction[];
  readonly nextBelow: bigint | undefined;
}

const INDEX_FROM_TIME = "SELECT journal_index_from_time($1::timestamptz) AS index";

/** How many transactions one call looks at before it answers with a page that is not full: 20 for each asked for, or 1,000. */
const LOOKED_AT_MAX = 20;
const LOOKED_AT_LEAST = 1_000;
/** How many are looked at together: more than asked for where most may not pass, and no more than are held in memory with all their metadata. */
const STRETCH = 200;
/** An entry in an answer takes less than this. */
const ENTRY_BYTES_MAX = 112;
const LAST_INDEX = 2n ** 63n - 1n;

/**
 * Lists the transactions that pass the filter, newest first.
 * @param below only those whose journal index is less; undefined for the first page
 * @param pageSize how many at the most, more than 0; fewer are returned where they take some ANSWER_BYTES_MAX
 */
export async function listTransactions(
  client: Queryable,
  filter: TransactionFilter,
  below: bigint | undefined,
  pageSize: number,
): Promise<TransactionPage> {
  const from = filter.from === null ? 0n : await indexFromTime(client, filter.from);
  const end = filter.before === null ? LAST_INDEX : await indexFromTime(client, filter.before);
  const found = await findIds(
    client,
    filter,
    { below: below === undefined || below > end ? end : below, from },
    pageSize,
  );
  const transactions = await findTransactions(client, found.ids);
  const listed = found.ids.map((id) => assertPresent(transactions.get(id), "a listed transaction"));
  return { transactions: await withMetadata(client, listed), nextBelow: found.nextBelow };
}

/** Goes down the journal until the page is full, there is nothing more, or enough was looked at. */
async function findIds(
  client: Queryable,
  filter: TransactionFilter,
  { below, from }: { readonly below: bigint; readonly from: bigint },
  pageSize: number,
): Promise<{ readonly ids: readonly Uuid[]; readonly nextBelow: bigint | undefined }> {
  const ids: Uuid[] = [];
  const lookedAtMax = Math.max(LOOKED_AT_MAX * pageSize, LOOKED_AT_LEAST);
  let next = below;
  let bytes = 0;
  // One more than the page tells whether there is another.
  let length = Math.min(pageSize + 1, STRETCH);
  for (let lookedAt = 0; lookedAt < lookedAtMax; lookedAt += length) {
    if (lookedAt > 0) length = STRETCH;
    const walked = await walkFurthest(client, filter, { below: next, from, length });
    const places = walked.filter(({ id }, index) => id === null || id !== walked[index - 1]?.id);
    const candidates = await findCandidates(
      client,
      places.flatMap(({ id }) => (id === null ? [] : [id])),
    );
    for (const { id, journal_index: index } of places) {
      const candidate = id === null ? undefined : candidates.get(id);
      if (id === null || candidate === undefined || !matchesFilter(filter, candidate)) continue;
      // The rest of what was looked at belongs to the next page.
      bytes += estimateBytes(candidate);
      if (ids.length === pageSize || (ids.length > 0 && bytes > ANSWER_BYTES_MAX)) return { ids, nextBelow: next };
      ids.push(id);
      next = index;
    }
    const last = walked.at(-1);
    if (last === undefined || walked.length < length) return { ids, nextBelow: undefined };
    next = last.journal_index;
  }
  return { ids, nextBelow: next };
}

/** About what the transaction takes in an answer. */
function estimateBytes({ accountIds, metadata, description }: Candidate): number {
  return (
    accountIds.length * ENTRY_BYTES_MAX + Buffer.byteLength(JSON.stringify(metadata)) + Buffer.byteLength(description)
  );
}

// By their primary key; the latest change of the metadata, if there is one, by its own.
const CANDIDATES = `
SELECT t.id, t.kind, t.state, t.currency_code, t.amount, t.description, t.external_reference,
  coalesce(changed.metadata, t.metadata) AS metadata, t.debit_account_id, t.credit_account_id,
  t.leg_account_ids::text[] AS leg_account_ids
FROM unnest($1::uuid[]) AS wanted (id) JOIN transactions t ON t.id = wanted.id
LEFT JOIN LATERAL (${LATEST_METADATA}) changed ON true`;

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

/** The first journal index at this time or later. */
async function indexFromTime(client: Queryable, time: Micros): Promise<bigint> {
  const { rows } = await client.query<{ index: bigint }>({
    name: "journal-index-from-time",
    text: INDEX_FROM_TIME,
    values: [toIso(time)],
  });
  return assertPresent(rows[0], "a journal index").index;
}
