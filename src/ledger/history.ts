import { assert } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import { toIso, type Micros } from "../base/time.js";
import type { Queryable } from "../db/database.js";
import { NORMAL_SIDE, type Account, type NormalSide } from "../entities/account.js";

/** A moment in the past: a time by the database's clock, or a place in the journal; both included. */
export type AsOf = { readonly recordTime: Micros } | { readonly journalIndex: bigint };

/** What an account held at a moment. */
export type PastAccount = Pick<
  Account,
  "id" | "systemAccount" | "currencyCode" | "normalSide" | "balance" | "pendingDebits" | "pendingCredits" | "sequence"
>;

// Each entry keeps what the account held after it, and the right one is found by binary search: no history is replayed.
const PAST_ACCOUNT = `
SELECT a.id, a.system_account, a.currency_code, a.normal_side, coalesce(e.balance_after, 0) AS balance,
  coalesce(e.pending_debits_after, 0) AS pending_debits, coalesce(e.pending_credits_after, 0) AS pending_credits,
  coalesce(e.sequence, 0) AS sequence
FROM accounts a
LEFT JOIN entries e ON e.account_id = a.id AND e.sequence = entry_sequence_before_index(a.id, $2)
WHERE a.id = $1`;

const INDEX_AFTER_TIME = "SELECT journal_index_from_time($1::timestamptz + interval '1 microsecond') AS index";

/** What the account held right after everything up to the moment; undefined when there is no such account. */
export async function findPastAccount(client: Queryable, id: Uuid, asOf: AsOf): Promise<PastAccount | undefined> {
  const { rows } = await client.query<{
    id: Uuid;
    system_account: string | null;
    currency_code: string;
    normal_side: PastAccount["normalSide"];
    balance: bigint;
    pending_debits: bigint;
    pending_credits: bigint;
    sequence: bigint;
  }>({ name: "account-past", text: PAST_ACCOUNT, values: [id, await indexAfter(client, asOf)] });
  const [row] = rows;
  return row === undefined
    ? undefined
    : {
        id: row.id,
        systemAccount: row.system_account,
        currencyCode: row.currency_code,
        normalSide: row.normal_side,
        balance: row.balance,
        pendingDebits: row.pending_debits,
        pendingCredits: row.pending_credits,
        sequence: row.sequence,
      };
}

/** The journal index of the first record after the moment. */
async function indexAfter(client: Queryable, asOf: AsOf): Promise<bigint> {
  if ("journalIndex" in asOf) return asOf.journalIndex === INDEX_MAX ? INDEX_MAX : asOf.journalIndex + 1n;
  const { rows } = await client.query<{ index: bigint }>({
    name: "journal-index-after-time",
    text: INDEX_AFTER_TIME,
    values: [toIso(asOf.recordTime)],
  });
  return rows[0]?.index ?? 0n;
}

const INDEX_MAX = 2n ** 63n - 1n;

/** A period of an account's history, by the time of record. */
export interface Period {
  readonly from: Micros;
  /** Not included. */
  readonly before: Micros;
}

/** One entry that moved money, as the account's owner sees it: positive on the account's normal side. */
export interface StatementLine {
  readonly transactionId: Uuid;
  readonly amountMinor: bigint;
  readonly balanceAfterMinor: bigint;
  readonly sequence: bigint;
  readonly createTime: Micros;
  readonly effectiveTime: Micros;
  readonly journalIndex: bigint;
  readonly description: string;
}

/** What a period comes to. */
export interface Statement {
  readonly account: Pick<Account, "id" | "systemAccount" | "currencyCode">;
  readonly openingMinor: bigint;
  readonly raisedMinor: bigint;
  readonly loweredMinor: bigint;
  readonly closingMinor: bigint;
  /** A page of it, oldest first, and one more when there is a next page. */
  readonly lines: readonly StatementLine[];
}

const PERIOD = `
SELECT a.id, a.system_account, a.currency_code, a.normal_side, p.first, p.last,
  coalesce(o.balance_after, 0) AS opening, coalesce(c.balance_after, 0) AS closing, s.debits, s.credits
FROM accounts a
CROSS JOIN LATERAL (
  SELECT entry_sequence_before_index(a.id, journal_index_from_time($2)) AS first,
    entry_sequence_before_index(a.id, journal_index_from_time($3)) AS last
) p
LEFT JOIN entries o ON o.account_id = a.id AND o.sequence = p.first
LEFT JOIN entries c ON c.account_id = a.id AND c.sequence = p.last
CROSS JOIN LATERAL (
  -- What was turned over may exceed what any balance can be.
  SELECT coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::text AS debits,
    coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::text AS credits
  FROM entries WHERE account_id = a.id AND sequence > p.first AND sequence <= p.last
) s
WHERE a.id = $1`;

const LINES = `
SELECT e.transaction_id, e.amount, e.balance_after, e.sequence, e.journal_index, t.description,
  (extract(epoch FROM e.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM coalesce(t.effective_time, e.create_time)) * 1000000)::bigint AS effective_time
FROM entries e JOIN transactions t ON t.id = e.transaction_id
WHERE e.account_id = $1 AND e.sequence > $2 AND e.sequence <= $3 AND e.amount <> 0
ORDER BY e.sequence LIMIT $4`;

/**
 * What was posted to an account in a period; undefined when there is no such account.
 * @param client sees one snapshot
 * @param after only lines with a greater sequence
 */
export async function findStatement(
  client: Queryable,
  id: Uuid,
  { from, before }: Period,
  { after, limit }: { readonly after: bigint; readonly limit: number },
): Promise<Statement | undefined> {
  const { rows } = await client.query<{
    id: Uuid;
    system_account: string | null;
    currency_code: string;
    normal_side: NormalSide;
    first: bigint;
    last: bigint;
    opening: bigint;
    closing: bigint;
    debits: string;
    credits: string;
  }>({ name: "statement-period", text: PERIOD, values: [id, toIso(from), toIso(before)] });
  const [row] = rows;
  if (row === undefined) return undefined;
  const isCredit = row.normal_side === NORMAL_SIDE.CREDIT;
  const [debits, credits] = [BigInt(row.debits), BigInt(row.credits)];
  const [raisedMinor, loweredMinor] = isCredit ? [credits, debits] : [debits, credits];
  assert(row.opening + raisedMinor - loweredMinor === row.closing, "a statement does not add up");
  const within = { after: after > row.first ? after : row.first, last: row.last, limit };
  return {
    account: { id: row.id, systemAccount: row.system_account, currencyCode: row.currency_code },
    openingMinor: row.opening,
    raisedMinor,
    loweredMinor,
    closingMinor: row.closing,
    lines: await readLines(client, { id: row.id, normalSide: row.normal_side }, within),
  };
}

/** What was posted to an account after one of its entries and up to another, oldest first. */
export async function readLines(
  client: Queryable,
  { id, normalSide }: Pick<Account, "id" | "normalSide">,
  { after, last, limit }: { readonly after: bigint; readonly last: bigint; readonly limit: number },
): Promise<StatementLine[]> {
  const { rows } = await client.query<{
    transaction_id: Uuid;
    amount: bigint;
    balance_after: bigint;
    sequence: bigint;
    journal_index: bigint;
    description: string;
    create_time: Micros;
    effective_time: Micros;
  }>({ name: "statement-lines", text: LINES, values: [id, after, last, limit] });
  return rows.map((line) => ({
    transactionId: line.transaction_id,
    amountMinor: normalSide === NORMAL_SIDE.CREDIT ? -line.amount : line.amount,
    balanceAfterMinor: line.balance_after,
    sequence: line.sequence,
    createTime: line.create_time,
    effectiveTime: line.effective_time,
    journalIndex: line.journal_index,
    description: line.description,
  }));
}
