import { NORMAL_SIDE } from "../../../base/codes.js";
import type { Law } from "../law.js";

// Where the balances before sum to zero, so must what has changed them since.
export const currencySumsToZero: Law = {
  reads: ["accounts"],
  findBreaches: ({ accountStates, entriesAndPrior }) => `
    SELECT currency_code::text AS subject, format('balances sum to %s', total) AS detail
    FROM (
      SELECT a.currency_code, sum((a.balance - coalesce(prior.balance_after, 0)::numeric)
        * CASE WHEN a.normal_side = ${NORMAL_SIDE.DEBIT} THEN 1 ELSE -1 END) AS total
      FROM ${accountStates} a LEFT JOIN ${entriesAndPrior} prior ON prior.account_id = a.id AND prior.is_prior
      GROUP BY a.currency_code
    ) sums WHERE total <> 0`,
};
