import { assertPresent } from "../../base/assert.js";
import { NORMAL_SIDE, type NormalSide } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import {
  assertSummary,
  toTurnover,
  type Period,
  type StatementAccount,
  type StatementLine,
  type StatementStart,
  type Turnover,
} from "./statement.js";

/**
 * The entries of a statement by record time. Entries never change and their sequence has no gap, so that the two sequences are a lasting
 * snapshot of the period: its lines can be read page by page at any time, without an open database transaction.
 */
export interface StatementExtent {
  readonly account: StatementAccount;
  /** The sequence of the entry right before the first line; 0 for none. */
  readonly first: bigint;
  /** The sequence of the last entry. */
  readonly last: bigint;
  readonly openingMinor: bigint;
  readonly closingMinor: bigint;
  readonly journalSize: bigint;
}

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
 * Finds the entries that were recorded on an account in a period; undefined when there is no such account.
 * @param after the sequence of an entry; lines up to it are left out
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
 * Finds the statement of what was recorded on an account in a period; undefined when there is no such account.
 * @param client reads from one snapshot
 */
export async function findRecordStatement(
  client: Queryable,
  id: Uuid,
  period: Period,
): Promise<StatementStart | undefined> {
  const extent = await findStatementExtent(client, id, period, 0n);
  if (extent === undefined) return undefined;
  const { account, openingMinor, closingMinor, first, last } = extent;
  const { rows } = await client.query<Turnover>({
    name: "statement-turnover",
    text: TURNOVER,
    values: [id, first, last],
  });
  const turnover = toTurnover(account, assertPresent(rows[0], "the turnover of a period"));
  const position = { sequence: first, effectiveTime: period.from, balanceAfterMinor: openingMinor };
  return { summary: assertSummary({ account, openingMinor, ...turnover, closingMinor, last }), position };
}

const LINES = `
SELECT e.transaction_id, e.amount, e.balance_after, e.sequence, e.journal_index, t.description,
  (extract(epoch FROM e.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM coalesce(t.effective_time, e.create_time)) * 1000000)::bigint AS effective_time
FROM entries e JOIN transactions t ON t.id = e.transaction_id
WHERE e.account_id = $1 AND e.sequence > $2 AND e.sequence <= $3 AND e.amount <> 0
ORDER BY e.sequence LIMIT $4`;

/** Reads the lines of an account's entries after one sequence and up to another, oldest first. */
export async function readRecordLines(
  client: Queryable,
  { id, normalSide }: Pick<StatementAccount, "id" | "normalSide">,
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
