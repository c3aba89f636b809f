import { assert, present } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import { toIso, type Micros } from "../base/time.js";
import type { Queryable } from "../db/database.js";
import { NORMAL_SIDE, type NormalSide } from "../entities/account.js";
import type { Period, Statement } from "./history.js";

// The balance of the record at the time, less what was recorded by then and takes effect later, and with what took effect by then and was
// recorded later. Those are found by the span between both times: of each length, only rows that are no further from the time than that
// are read, and about half of these count if they are evenly spread. 2^34 seconds are 544 years, 2^40 more than any two times are apart.
const EFFECTIVE_BALANCE = `
SELECT a.system_account, a.currency_code, a.normal_side,
  (coalesce(e.balance_after, 0) + CASE a.normal_side WHEN ${NORMAL_SIDE.DEBIT} THEN 1 ELSE -1 END * d.total)::text AS balance
FROM accounts a
LEFT JOIN entries e ON e.account_id = a.id
  AND e.sequence = entry_sequence_before_index(a.id, journal_index_from_time($2::timestamptz + interval '1 microsecond'))
CROSS JOIN LATERAL (
  SELECT coalesce(sum(dated.amount), 0) AS total
  FROM (
    SELECT bits::smallint AS span,
      CASE WHEN bits > 34 THEN '-infinity' ELSE $2 - power(2, bits) * interval '1 second' END AS earliest,
      CASE WHEN bits > 34 THEN 'infinity' ELSE $2 + power(2, bits) * interval '1 second' END AS latest
    FROM generate_series(1, 40) AS bits
  ) s CROSS JOIN LATERAL (
    SELECT amount FROM dated_entries
    WHERE account_id = a.id AND span = s.span AND effective_time <= $2 AND effective_time > s.earliest AND create_time > $2
    UNION ALL
    SELECT -amount FROM dated_entries
    WHERE account_id = a.id AND span = -s.span AND effective_time > $2 AND effective_time <= s.latest AND create_time <= $2
  ) dated
) d
WHERE a.id = $1`;

/** What an account held when what had taken effect by a time is counted, whenever it was recorded. */
export interface EffectiveBalance {
  readonly systemAccount: string | null;
  readonly currencyCode: string;
  readonly normalSide: NormalSide;
  /** Minor units on the normal side; as it was never a balance of the record, it may exceed what one can be. */
  readonly balanceMinor: bigint;
}

/** The balance of everything that took effect at the time or before; undefined when there is no such account. */
export async function findEffectiveBalance(
  client: Queryable,
  id: Uuid,
  time: Micros,
): Promise<EffectiveBalance | undefined> {
  const { rows } = await client.query<{
    system_account: string | null;
    currency_code: string;
    normal_side: NormalSide;
    balance: string;
  }>({
    name: "account-effective",
    text: EFFECTIVE_BALANCE,
    values: [id, toIso(time)],
  });
  const [row] = rows;
  if (row === undefined) return undefined;
  const { system_account: systemAccount, currency_code: currencyCode, normal_side: normalSide, balance } = row;
  return { systemAccount, currencyCode, normalSide, balanceMinor: BigInt(balance) };
}

/** What took effect in a period: entries without an effective time of their own by that of their record, the others by theirs. */
const OF_PERIOD = `
  SELECT e.sequence, e.amount, e.create_time AS time
  FROM (
    SELECT entry_sequence_before_index($1::uuid, journal_index_from_time($2::timestamptz)) AS first,
      entry_sequence_before_index($1::uuid, journal_index_from_time($3::timestamptz)) AS last
  ) p JOIN entries e ON e.account_id = $1::uuid AND e.sequence > p.first AND e.sequence <= p.last AND e.amount <> 0
  WHERE NOT EXISTS (
    SELECT FROM dated_entries d
    WHERE d.account_id = $1::uuid AND d.sequence = e.sequence AND d.sequence > p.first AND d.sequence <= p.last
  )
  UNION ALL
  SELECT sequence, amount, effective_time FROM dated_entries
  WHERE account_id = $1::uuid AND effective_time >= $2::timestamptz AND effective_time < $3::timestamptz AND amount <> 0`;

const TOTALS = `
SELECT coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::text AS debits,
  coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::text AS credits
FROM (${OF_PERIOD}) l`;

const LINES = `
SELECT e.transaction_id, page.amount, page.total::text AS total, page.sequence, e.journal_index, t.description,
  (extract(epoch FROM e.create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM page.time) * 1000000)::bigint AS effective_time
FROM (
  SELECT * FROM (SELECT *, sum(amount) OVER (ORDER BY time, sequence ROWS UNBOUNDED PRECEDING) AS total FROM (${OF_PERIOD}) o) l
  WHERE (l.time, l.sequence) > ($4::timestamptz, $5::bigint) ORDER BY l.time, l.sequence LIMIT $6
) page
JOIN entries e ON e.account_id = $1::uuid AND e.sequence = page.sequence JOIN transactions t ON t.id = e.transaction_id
ORDER BY page.time, page.sequence`;

/** A place in a statement by effective time. */
export interface EffectivePlace {
  readonly effectiveTime: Micros;
  readonly sequence: bigint;
}

/**
 * What took effect on an account in a period, whenever it was recorded; undefined when there is no such account. No balance of it need
 * ever have been one of the record, nor within its limits.
 * @param client sees one snapshot
 * @param after only lines after this place; undefined for the first page
 */
export async function findEffectiveStatement(
  client: Queryable,
  id: Uuid,
  { from, before }: Period,
  { after, limit }: { readonly after: EffectivePlace | undefined; readonly limit: number },
): Promise<Statement | undefined> {
  const [opening, closing] = [await balanceBefore(client, id, from), await balanceBefore(client, id, before)];
  if (opening === undefined || closing === undefined) return undefined;
  const period = [id, toIso(from), toIso(before)];
  const totals = await client.query<{ debits: string; credits: string }>({
    name: "statement-effective-totals",
    text: TOTALS,
    values: period,
  });
  const { debits, credits } = present(totals.rows[0], "the totals of a period");
  const isCredit = opening.normalSide === NORMAL_SIDE.CREDIT;
  const [raisedMinor, loweredMinor] = isCredit ? [BigInt(credits), BigInt(debits)] : [BigInt(debits), BigInt(credits)];
  assert(
    opening.balanceMinor + raisedMinor - loweredMinor === closing.balanceMinor,
    "a statement by effective time does not add up",
  );
  const { rows } = await client.query<{
    transaction_id: Uuid;
    amount: bigint;
    total: string;
    sequence: bigint;
    journal_index: bigint;
    description: string;
    create_time: Micros;
    effective_time: Micros;
  }>({
    name: "statement-effective-lines",
    text: LINES,
    values: [...period, toIso(after?.effectiveTime ?? from), after?.sequence ?? 0n, limit],
  });
  return {
    account: { id, systemAccount: opening.systemAccount, currencyCode: opening.currencyCode },
    openingMinor: opening.balanceMinor,
    raisedMinor,
    loweredMinor,
    closingMinor: closing.balanceMinor,
    lines: rows.map((line) => ({
      transactionId: line.transaction_id,
      amountMinor: isCredit ? -line.amount : line.amount,
      balanceAfterMinor: opening.balanceMinor + (isCredit ? -BigInt(line.total) : BigInt(line.total)),
      sequence: line.sequence,
      createTime: line.create_time,
      effectiveTime: line.effective_time,
      journalIndex: line.journal_index,
      description: line.description,
    })),
  };
}

/** The balance of what took effect before the time: nothing does before 1970. */
async function balanceBefore(client: Queryable, id: Uuid, time: Micros): Promise<EffectiveBalance | undefined> {
  if (time > 0n) return findEffectiveBalance(client, id, time - 1n);
  const first = await findEffectiveBalance(client, id, 0n);
  return first === undefined ? undefined : { ...first, balanceMinor: 0n };
}
