import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import { NORMAL_SIDE, type NormalSide } from "../../base/codes.js";

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
