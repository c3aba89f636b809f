import { NORMAL_SIDE } from "../../../base/codes.js";
import type { Law } from "../law.js";

export const runningBalance: Law = {
  reads: ["entries", "entries"],
  findBreaches: ({ accounts, entriesAndPrior }) => `
    SELECT account_id::text AS subject, format('entry %s: balance after it is %s, not %s', sequence, balance_after, expected) AS detail
    FROM (
      SELECT e.account_id, e.sequence, e.balance_after, e.is_prior, coalesce(lag(e.balance_after) OVER w, 0)::numeric
        + e.amount * CASE WHEN a.normal_side = ${NORMAL_SIDE.DEBIT} THEN 1 ELSE -1 END AS expected
      FROM ${entriesAndPrior} e JOIN ${accounts} a ON a.id = e.account_id
      WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
    ) run WHERE NOT is_prior AND balance_after <> expected
    UNION ALL
    SELECT account_id::text, format('entry %s is before its predecessor in the journal or in time', sequence)
    FROM (
      SELECT account_id, sequence, journal_index, create_time, transaction_id, is_prior, lag(transaction_id) OVER w AS previous_id,
        lag(journal_index) OVER w AS previous_index, lag(create_time) OVER w AS previous_time
      FROM ${entriesAndPrior} e WINDOW w AS (PARTITION BY account_id ORDER BY sequence)
    ) ordered WHERE NOT is_prior AND (journal_index < previous_index OR create_time < previous_time
      -- A transaction may have several entries on an account.
      OR (journal_index = previous_index AND transaction_id <> previous_id))`,
};
