import type { Uuid } from "../../base/ids.js";
import { toIso, type Micros } from "../../base/time.js";
import type { Queryable } from "../../db/database.js";
import { NORMAL_SIDE, type NormalSide } from "../../base/codes.js";

// Takes the recorded balance at the time, adds what took effect by then but was recorded later, and subtracts what was recorded by then but
// takes effect later. Both are found by span, the class of the distance between the two times: of each class only rows within that distance
// of the time are read, and about half of these count when evenly spread. 2^34 seconds are 544 years; 2^40 exceed any distance.
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

/** An account's balance of all that took effect by a time, whenever it was recorded. */
export interface EffectiveBalance {
  readonly systemAccount: string | null;
  readonly currencyCode: string;
  readonly normalSide: NormalSide;
  /** Minor units on the normal side; it may exceed the range of a recorded balance. */
  readonly balanceMinor: bigint;
}

/** Finds the balance of all that took effect at the time or before; undefined when there is no such account. */
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
