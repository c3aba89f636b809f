import { assert, assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import { NORMAL_SIDE, type NormalSide } from "../../base/codes.js";
import type { AccountRow } from "../../entities/account.js";

/** A period of an account's history. */
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

/** The place of a line in a statement, after which others follow. */
export type LinePlace = Pick<StatementLine, "sequence" | "effectiveTime" | "balanceAfterMinor">;

/** The account of a statement. */
export type StatementAccount = Pick<AccountRow, "id" | "systemAccount" | "currencyCode" | "normalSide">;

/** What a period comes to, as it was known when it was asked for. */
export interface StatementSummary {
  readonly account: StatementAccount;
  readonly openingMinor: bigint;
  readonly raisedMinor: bigint;
  readonly loweredMinor: bigint;
  readonly closingMinor: bigint;
  /** The number of the last entry that is in it, or that was known. */
  readonly last: bigint;
}

/** A statement's summary, and the place before its first line. */
export interface StatementBeginning {
  readonly summary: StatementSummary;
  readonly place: LinePlace;
}

/**
 * From where to where a statement goes. Entries are never changed and are numbered without a gap, so these two numbers are a
 * snapshot of the period that lasts: its lines can be read page by page at any time, with no transaction held open for them.
 */
export interface StatementExtent {
  readonly account: StatementAccount;
  /** The number of the entry right before the first line; 0 for none. */
  readonly first: bigint;
  /** The number of the last entry. */
  readonly last: bigint;
  readonly openingMinor: bigint;
  readonly closingMinor: bigint;
  readonly journalSize: bigint;
}

// What is summed up is summed up from the lines, as they are read.
const EXTENT = `
SELECT a.id, a.system_account, a.currency_code, a.normal_side, within.first, p.last, h.size,
  coalesce(o.balance_after, 0) AS opening, coalesce(c.balance_after, 0) AS closing
FROM accounts a
CROSS JOIN journal_head h
CROSS JOIN LATERAL (
  SELECT entry_sequence_before_index(a.id, journal_index_from_time($2)) AS first,
    entry_sequence_before_index(a.id, journal_index_from_time($3)) AS last
) p
CROSS JOIN LATERAL (SELECT greatest(p.first, least(p.last, $4::bigint)) AS first) within
LEFT JOIN entries o ON o.account_id = a.id AND o.sequence = within.first
LEFT JOIN entries c ON c.account_id = a.id AND c.sequence = p.last
WHERE a.id = $1`;

/**
 * The extent of what was posted to an account in a period; undefined when there is no such account.
 * @param after the number of an entry that is before the first line, as those before it
 */
export async function findStatementExtent(
  client: Queryable,
  id: Uuid,
  { from, before }: Period,
  after: bigint,
): Promise<StatementExtent | undefined> {
  const { rows } = await client.query<{
    id: Uuid;
    system_account: string | null;
    currency_code: string;
    normal_side: NormalSide;
    first: bigint;
    last: bigint;
    opening: bigint;
    closing: bigint;
    size: bigint;
  }>({ name: "statement-extent", text: EXTENT, values: [id, toIso(from), toIso(before), after] });
  const [row] = rows;
  return (
    row && {
      account: {
        id: row.id,
        systemAccount: row.system_account,
        currencyCode: row.currency_code,
        normalSide: row.normal_side,
      },
      first: row.first,
      last: row.last,
      openingMinor: row.opening,
      closingMinor: row.closing,
      journalSize: row.size,
    }
  );
}

const TURNOVER = `
SELECT coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::text AS debits,
  coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::text AS credits
FROM entries WHERE account_id = $1 AND sequence > $2 AND sequence <= $3`;

/**
 * What was posted to an account in a period; undefined when there is no such account.
 * @param client sees one snapshot
 */
export async function findStatement(
  client: Queryable,
  id: Uuid,
  period: Period,
): Promise<StatementBeginning | undefined> {
  const extent = await findStatementExtent(client, id, period, 0n);
  if (extent === undefined) return undefined;
  const { account, openingMinor, closingMinor, first, last } = extent;
  const { rows } = await client.query<Turnover>({
    name: "statement-turnover",
    text: TURNOVER,
    values: [id, first, last],
  });
  const turnover = toTurnover(account, assertPresent(rows[0], "the turnover of a period"));
  const place = { sequence: first, effectiveTime: period.from, balanceAfterMinor: openingMinor };
  return { summary: assertSummary({ account, openingMinor, ...turnover, closingMinor, last }), place };
}

/** Sums, as text: what was turned over may exceed what any balance can be. */
export interface Turnover {
  readonly debits: string;
  readonly credits: string;
}

export function toTurnover(
  { normalSide }: StatementAccount,
  { debits, credits }: Turnover,
): Pick<StatementSummary, "raisedMinor" | "loweredMinor"> {
  const [raised, lowered] = normalSide === NORMAL_SIDE.CREDIT ? [credits, debits] : [debits, credits];
  return { raisedMinor: BigInt(raised), loweredMinor: BigInt(lowered) };
}

/** The summary, once it adds up. */
export function assertSummary(summary: StatementSummary): StatementSummary {
  const { openingMinor, raisedMinor, loweredMinor, closingMinor } = summary;
  assert(openingMinor + raisedMinor - loweredMinor === closingMinor, "a statement does not add up");
  return summary;
}

const LINES = `
SELECT e.transaction_id, e.amount, e.balance_after, e.sequence, e.journal_index, t.description,
  (extract(epoch FROM e.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM coalesce(t.effective_time, e.create_time)) * 1000000)::bigint AS effective_time
FROM entries e JOIN transactions t ON t.id = e.transaction_id
WHERE e.account_id = $1 AND e.sequence > $2 AND e.sequence <= $3 AND e.amount <> 0
ORDER BY e.sequence LIMIT $4`;

/** What was posted to an account after one of its entries and up to another, oldest first. */
export async function readLines(
  client: Queryable,
  { id, normalSide }: Pick<AccountRow, "id" | "normalSide">,
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
