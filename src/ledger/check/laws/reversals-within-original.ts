import { TRANSACTION_STATE } from "../../../base/codes.js";
import type { Law } from "../law.js";

const IS_REVERSAL = `reverses_id IS NOT NULL AND state = ${TRANSACTION_STATE.POSTED}`;

/** The legs of the transactions, summed by account and side. */
const sumLegs = (transactions: string, id: string): string => `
  SELECT ${id}, leg.account_id, leg.amount > 0 AS is_debit, sum(abs(leg.amount)) AS total
  FROM ${transactions} CROSS JOIN LATERAL unnest(leg_account_ids, leg_amounts) AS leg (account_id, amount) GROUP BY 1, 2, 3`;

export const reversalsWithinOriginal: Law = {
  reads: ["transactions"],
  findBreaches: ({ transactions, lookUp, rowsOf }) => `
    WITH reversal AS (
      SELECT id, reverses_id, debit_account_id, credit_account_id, currency_code, amount, leg_account_ids, leg_amounts
      FROM ${rowsOf(
        "transactions",
        `SELECT DISTINCT reverses_id AS id FROM ${transactions} t WHERE ${IS_REVERSAL}`,
        `reverses_id = known.id AND ${IS_REVERSAL}`,
      )} t WHERE ${IS_REVERSAL}
    ), original AS (
      SELECT o.id, o.debit_account_id, o.credit_account_id, o.currency_code, o.amount, o.leg_account_ids, o.leg_amounts
      FROM (SELECT DISTINCT reverses_id AS id FROM reversal) ids
      JOIN ${lookUp("transactions", "o", `o.id = ids.id AND o.state = ${TRANSACTION_STATE.POSTED}`)}
    )
    SELECT r.reverses_id::text AS subject, CASE WHEN o.id IS NULL THEN 'it is reversed and does not exist'
      ELSE format('%s %s of %s are reversed', sum(r.amount), r.currency_code, o.amount) END AS detail
    FROM reversal r LEFT JOIN original o ON o.id = r.reverses_id
    GROUP BY r.reverses_id, r.currency_code, o.id, o.amount, o.currency_code
    HAVING o.id IS NULL OR sum(r.amount) > o.amount OR r.currency_code <> o.currency_code
    UNION ALL
    SELECT r.id::text, format('it reverses %s, and moves between other accounts', o.id)
    FROM reversal r JOIN original o ON o.id = r.reverses_id
    WHERE r.debit_account_id <> o.credit_account_id OR r.credit_account_id <> o.debit_account_id
    UNION ALL
    SELECT r.reverses_id::text, format('more of its legs on account %s is reversed than there is', r.account_id)
    FROM (${sumLegs("reversal", "reverses_id")}) r LEFT JOIN (${sumLegs("original", "id")}) o
      ON o.id = r.reverses_id AND o.account_id = r.account_id AND o.is_debit <> r.is_debit
    WHERE o.id IS NULL OR r.total > o.total`,
};
