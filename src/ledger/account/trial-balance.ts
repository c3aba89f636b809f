import type { Queryable } from "../../db/database.js";
import { READ_WHOLE_TABLES } from "../../db/session.js";

/** The name of the line that sums all wallets of a currency. No system account has this name. */
export const ALL_WALLETS = "wallets";

/** One currency's trial balance: sums of minor units, which may exceed int64. */
export interface TrialBalance {
  readonly currencyCode: string;
  readonly debitMinor: bigint;
  readonly creditMinor: bigint;
  readonly accountCount: bigint;
  readonly lines: readonly TrialBalanceLine[];
}

/** The sums of a system account, or of all wallets under ALL_WALLETS. */
export interface TrialBalanceLine {
  readonly name: string;
  readonly debitMinor: bigint;
  readonly creditMinor: bigint;
}

// A balance on the side that is not the normal one is negative.
const TRIAL_BALANCE = `
SELECT currency_code, coalesce(system_account, '${ALL_WALLETS}') AS name, count(*) AS accounts,
  coalesce(sum(debit) FILTER (WHERE debit > 0), 0)::text AS debits,
  coalesce(-sum(debit) FILTER (WHERE debit < 0), 0)::text AS credits
FROM (
  SELECT currency_code, system_account, balance::numeric * CASE WHEN normal_side = 1 THEN 1 ELSE -1 END AS debit
  FROM account_states WHERE sequence > 0 AND ($1 = '' OR currency_code = $1) AND currency_code > $2
) balances
GROUP BY currency_code, coalesce(system_account, '${ALL_WALLETS}')
ORDER BY currency_code, name`;

/**
 * Reads the trial balance of a currency, or with '' of every currency that has an entry, in the caller's database transaction.
 * @param after selects currencies whose code is greater
 */
export async function readTrialBalance(client: Queryable, currencyCode: string, after = ""): Promise<TrialBalance[]> {
  await client.query(READ_WHOLE_TABLES);
  const { rows } = await client.query<{
    currency_code: string;
    name: string;
    accounts: bigint;
    debits: string;
    credits: string;
  }>({ name: "trial-balance", text: TRIAL_BALANCE, values: [currencyCode, after] });
  const byCurrency = new Map<string, typeof rows>();
  for (const row of rows) byCurrency.set(row.currency_code, [...(byCurrency.get(row.currency_code) ?? []), row]);
  return [...byCurrency].map(([code, group]) => ({
    currencyCode: code,
    debitMinor: group.reduce((sum, row) => sum + BigInt(row.debits), 0n),
    creditMinor: group.reduce((sum, row) => sum + BigInt(row.credits), 0n),
    accountCount: group.reduce((sum, row) => sum + row.accounts, 0n),
    lines: group.map((row) => ({ name: row.name, debitMinor: BigInt(row.debits), creditMinor: BigInt(row.credits) })),
  }));
}
