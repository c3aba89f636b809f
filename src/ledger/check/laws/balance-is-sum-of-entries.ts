import { NORMAL_SIDE } from "../../../base/codes.js";
import type { Law } from "../law.js";

export const balanceIsSumOfEntries: Law = {
  reads: ["accounts", "entries"],
  findBreaches: ({ accountStates, entries, entriesAndPrior }) => `
    SELECT id::text AS subject, format('balance is %s, entries sum to %s', balance, total) AS detail
    FROM (
      SELECT a.id, a.balance, coalesce(prior.balance_after, 0)
        + coalesce(e.total, 0) * CASE WHEN a.normal_side = ${NORMAL_SIDE.DEBIT} THEN 1 ELSE -1 END AS total
      FROM ${accountStates} a
      LEFT JOIN (SELECT account_id, sum(amount) AS total FROM ${entries} e GROUP BY account_id) e ON e.account_id = a.id
      LEFT JOIN ${entriesAndPrior} prior ON prior.account_id = a.id AND prior.is_prior
    ) sums WHERE balance <> total`,
};
