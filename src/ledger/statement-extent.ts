import type { Uuid } from "../base/ids.js";
import { toIso } from "../base/time.js";
import type { Queryable } from "../db/database.js";
import type { Account, NormalSide } from "../entities/account.js";
import type { Period } from "./history.js";

/**
 * From where to where a statement goes. Entries are never changed and are numbered without a gap, so these two numbers are a
 * snapshot of the period that lasts: its lines can be read page by page at any time, with no transaction held open for them.
 */
export interface StatementExtent {
  readonly account: Pick<Account, "id" | "systemAccount" | "currencyCode" | "normalSide">;
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
