import { TRANSACTION_KIND, TRANSACTION_STATE } from "../../../base/codes.js";
import type { Law } from "../law.js";

/** The amount that a transaction moves: steps of holds other than captures only change what is pending. */
const MOVED = `CASE WHEN t.hold_id IS NULL OR t.kind = ${TRANSACTION_KIND.HOLD_CAPTURE} THEN t.amount ELSE 0 END`;

export const entriesMatchState: Law = {
  reads: ["transactions", "entries"],
  findBreaches: ({ transactions, entries, entriesAndPrior, accounts, firstIndex, rowsOf }) => `
    SELECT t.id::text AS subject, format('state %s with %s entries', t.state, coalesce(e.n, 0)) AS detail
    FROM ${transactions} t LEFT JOIN (
      SELECT transaction_id, count(*) AS n FROM ${entriesAndPrior} e GROUP BY transaction_id
    ) e ON e.transaction_id = t.id
    WHERE coalesce(e.n, 0) <> CASE
      WHEN t.state <> ${TRANSACTION_STATE.POSTED} THEN 0
      WHEN t.leg_account_ids IS NOT NULL THEN cardinality(t.leg_account_ids)
      WHEN t.hold_id IS NULL THEN 2
      -- A hold may name no account to credit.
      ELSE 1 + num_nonnulls(t.credit_sequence) END
    UNION ALL
    SELECT t.id::text, format('%s entry %s of account %s is missing or has another amount', side, named.sequence, named.account_id)
    FROM ${transactions} t CROSS JOIN LATERAL (VALUES
      ('debit', debit_account_id, debit_sequence, ${MOVED}), ('credit', credit_account_id, credit_sequence, -${MOVED})
    ) AS named (side, account_id, sequence, amount)
    LEFT JOIN ${entries} e ON e.account_id = named.account_id AND e.sequence = named.sequence
      AND e.transaction_id = t.id AND e.amount = named.amount AND e.journal_index = t.journal_index
    WHERE named.sequence IS NOT NULL AND e.account_id IS NULL
    UNION ALL
    SELECT t.id::text, format('entry %s of account %s is missing or is not its leg', leg.sequence, leg.account_id)
    FROM ${transactions} t CROSS JOIN LATERAL unnest(t.leg_account_ids, t.leg_amounts, t.leg_sequences)
      AS leg (account_id, amount, sequence)
    LEFT JOIN ${entries} e ON e.account_id = leg.account_id AND e.sequence = leg.sequence
      AND e.transaction_id = t.id AND e.amount = leg.amount AND e.journal_index = t.journal_index
    WHERE t.state = ${TRANSACTION_STATE.POSTED} AND e.account_id IS NULL
    UNION ALL
    -- The legs of a rejected transaction are listed by its accounts, those of a posted one are not.
    SELECT coalesce(t.id, r.transaction_id)::text, 'its rejected legs are not those that its accounts list'
    FROM (
      SELECT DISTINCT id, journal_index, unnest(leg_account_ids) AS account_id FROM ${transactions} t
      WHERE state = ${TRANSACTION_STATE.REJECTED}
    ) t FULL JOIN ${rowsOf(
      "rejected_legs",
      `SELECT id FROM ${accounts} a`,
      `account_id = known.id AND journal_index >= ${firstIndex}`,
    )} r ON r.transaction_id = t.id AND r.journal_index = t.journal_index AND r.account_id = t.account_id
    WHERE t.id IS NULL OR r.transaction_id IS NULL`,
};
