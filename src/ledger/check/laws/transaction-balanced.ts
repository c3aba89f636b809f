import type { Law } from "../law.js";

export const transactionBalanced: Law = {
  reads: ["entries"],
  findBreaches: ({ entries, accounts }) => `
    SELECT e.transaction_id::text AS subject, format('entries in %s sum to %s', a.currency_code, sum(e.amount)) AS detail
    FROM ${entries} e JOIN ${accounts} a ON a.id = e.account_id
    GROUP BY e.transaction_id, a.currency_code HAVING sum(e.amount) <> 0`,
};
