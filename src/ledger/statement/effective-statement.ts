import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import { NORMAL_SIDE } from "../../base/codes.js";
import { findEffectiveBalance, type EffectiveBalance } from "./effective-balance.js";
import {
  assertSummary,
  toTurnover,
  type LinePosition,
  type Period,
  type StatementAccount,
  type StatementStart,
  type StatementLine,
  type Turnover,
} from "./statement.js";

const LAST_ENTRY = "SELECT coalesce(max(sequence), 0) AS last FROM entries WHERE account_id = $1";

// An entry without an effective time takes effect when it is recorded.
const TURNOVER = `
WITH period AS MATERIALIZED (
  SELECT entry_sequence_before_index($1::uuid, journal_index_from_time($2::timestamptz)) AS first,
    entry_sequence_before_index($1::uuid, journal_index_from_time($3::timestamptz)) AS last
)
SELECT coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::text AS debits,
  coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::text AS credits
FROM (
  SELECT e.amount FROM entries e
  WHERE e.account_id = $1::uuid AND e.sequence > (SELECT first FROM period) AND e.sequence <= (SELECT last FROM period)
    AND NOT EXISTS (SELECT FROM dated_entries d WHERE d.account_id = $1::uuid AND d.sequence = e.sequence)
  UNION ALL
  SELECT amount FROM dated_entries
  WHERE account_id = $1::uuid AND effective_time >= $2::timestamptz AND effective_time < $3::timestamptz
) l`;

/**
 * Finds the statement of what took effect on an account in a period, whenever it was recorded; undefined when there is no such account. Its
 * balances may never have been recorded, and may be outside the account's limits.
 * @param client reads from one snapshot
 */
export async function findEffectiveStatement(
  client: Queryable,
  id: Uuid,
  { from, before }: Period,
): Promise<StatementStart | undefined> {
  const [opening, closing] = [await balanceBefore(client, id, from), await balanceBefore(client, id, before)];
  if (opening === undefined || closing === undefined) return undefined;
  const { systemAccount, currencyCode, normalSide, balanceMinor: openingMinor } = opening;
  const account = { id, systemAccount, currencyCode, normalSide };
  const turnover = await client.query<Turnover>({
    name: "statement-effective-turnover",
    text: TURNOVER,
    values: [id, toIso(from), toIso(before)],
  });
  const entries = await client.query<{ last: bigint }>({ name: "entries-last", text: LAST_ENTRY, values: [id] });
  const { last } = assertPresent(entries.rows[0], "the last entry");
  const sums = toTurnover(account, assertPresent(turnover.rows[0], "the turnover of a period"));
  return {
    summary: assertSummary({ account, openingMinor, ...sums, closingMinor: closing.balanceMinor, last }),
    position: { sequence: 0n, effectiveTime: from, balanceAfterMinor: openingMinor },
  };
}

/** Finds the balance of what took effect before a time; nothing takes effect before 1970. */
async function balanceBefore(client: Queryable, id: Uuid, time: Micros): Promise<EffectiveBalance | undefined> {
  if (time > 0n) return findEffectiveBalance(client, id, time - 1n);
  const first = await findEffectiveBalance(client, id, 0n);
  return first === undefined ? undefined : { ...first, balanceMinor: 0n };
}

// Reads up to a page of entries with an effective time, and of the others those within the same times, up to a page.
const LINES = `
WITH dated AS MATERIALIZED (
  SELECT sequence, amount, effective_time AS time FROM dated_entries
  WHERE account_id = $1::uuid AND (effective_time, sequence) > ($2::timestamptz, $3::bigint) AND effective_time < $4::timestamptz
    AND sequence <= $5 AND amount <> 0
  ORDER BY effective_time, sequence LIMIT $6
), within AS MATERIALIZED (
  SELECT entry_sequence_before_index($1::uuid, journal_index_from_time($2::timestamptz)) AS first,
    least($5, entry_sequence_before_index($1::uuid, journal_index_from_time(
      CASE WHEN count(*) < $6 THEN $4::timestamptz ELSE max(time) + interval '1 microsecond' END
    ))) AS last
  FROM dated
), recorded AS (
  SELECT sequence, amount, create_time AS time FROM entries e
  WHERE account_id = $1::uuid AND sequence > (SELECT first FROM within) AND sequence <= (SELECT last FROM within)
    AND (create_time, sequence) > ($2::timestamptz, $3::bigint) AND amount <> 0
    AND NOT EXISTS (SELECT FROM dated_entries d WHERE d.account_id = $1::uuid AND d.sequence = e.sequence)
  ORDER BY sequence LIMIT $6
)
SELECT e.transaction_id, page.amount, page.sequence, e.journal_index, t.description,
  (extract(epoch FROM e.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM page.time) * 1000000)::bigint AS effective_time
FROM (SELECT * FROM dated UNION ALL SELECT * FROM recorded ORDER BY time, sequence LIMIT $6) page
JOIN entries e ON e.account_id = $1::uuid AND e.sequence = page.sequence JOIN transactions t ON t.id = e.transaction_id
ORDER BY page.time, page.sequence`;

/** Reads the lines that took effect after a line and before a time, in that order; entries recorded after `last` are left out. */
export async function readEffectiveLines(
  client: Queryable,
  { id, normalSide }: Pick<StatementAccount, "id" | "normalSide">,
  {
    after,
    before,
    last,
    limit,
  }: { readonly after: LinePosition; readonly before: Micros; readonly last: bigint; readonly limit: number },
): Promise<StatementLine[]> {
  const { rows } = await client.query<{
    transaction_id: Uuid;
    amount: bigint;
    sequence: bigint;
    journal_index: bigint;
    description: string;
    create_time: Micros;
    effective_time: Micros;
  }>({
    name: "statement-effective-lines",
    text: LINES,
    values: [id, toIso(after.effectiveTime), after.sequence, toIso(before), last, limit],
  });
  let balanceMinor = after.balanceAfterMinor;
  return rows.map((line) => {
    const amountMinor = normalSide === NORMAL_SIDE.CREDIT ? -line.amount : line.amount;
    balanceMinor += amountMinor;
    return {
      transactionId: line.transaction_id,
      amountMinor,
      balanceAfterMinor: balanceMinor,
      sequence: line.sequence,
      createTime: line.create_time,
      effectiveTime: line.effective_time,
      journalIndex: line.journal_index,
      description: line.description,
    };
  });
}
