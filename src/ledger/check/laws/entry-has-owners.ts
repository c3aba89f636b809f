import type { Law } from "../law.js";

export const entryHasOwners: Law = {
  reads: ["transactions", "entries"],
  findBreaches: ({ accounts, entries, transactions, lookUp }) => `
    SELECT e.transaction_id::text AS subject, format('entry %s of account %s has no %s', e.sequence, e.account_id,
      CASE WHEN t.id IS NULL THEN 'transaction' WHEN a.id IS NULL THEN 'account' ELSE 'account of its currency' END) AS detail
    FROM ${entries} e
    LEFT JOIN ${lookUp("transactions", "t", "t.id = e.transaction_id")}
    LEFT JOIN ${accounts} a ON a.id = e.account_id
    LEFT JOIN (
      SELECT id, leg.* FROM ${transactions} t
      CROSS JOIN LATERAL unnest(leg_account_ids, leg_sequences, leg_currency_codes) AS leg (account_id, sequence, currency_code)
      WHERE leg_sequences IS NOT NULL
    ) leg ON leg.id = e.transaction_id AND leg.account_id = e.account_id AND leg.sequence = e.sequence
    WHERE t.id IS NULL OR a.id IS NULL
      OR a.currency_code IS DISTINCT FROM CASE WHEN t.leg_account_ids IS NULL THEN t.currency_code ELSE leg.currency_code END`,
};
