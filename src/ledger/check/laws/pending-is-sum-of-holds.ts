import { HOLD_STATE } from "../../../base/codes.js";
import type { Law } from "../law.js";

export const pendingIsSumOfHolds: Law = {
  reads: ["accounts"],
  findBreaches: ({ accounts, accountStates, rowsOf, choose }) => `
    SELECT a.id::text AS subject, format('%s and %s are pending, holds come to %s and %s', a.pending_debits, a.pending_credits,
      coalesce(h.debits, 0), coalesce(h.credits, 0)) AS detail
    FROM ${accountStates} a LEFT JOIN (
      SELECT id, sum(debits) AS debits, sum(credits) AS credits FROM (
        SELECT account_id AS id, amount - captured AS debits, 0::bigint AS credits
        FROM ${rowsOf("holds", `SELECT id FROM ${accounts} a`, `account_id = known.id AND state = ${HOLD_STATE.ACTIVE}`)} h
        WHERE state = ${HOLD_STATE.ACTIVE}
        UNION ALL
        ${choose(
          `SELECT to_account_id, 0, amount - captured FROM holds
          WHERE state = ${HOLD_STATE.ACTIVE} AND to_account_id IS NOT NULL`,
          // No index finds the holds that credit an account.
          `SELECT id, 0, pending_credits FROM ${accountStates} a`,
        )}
      ) sides GROUP BY id
    ) h ON h.id = a.id
    WHERE a.pending_debits <> coalesce(h.debits, 0) OR a.pending_credits <> coalesce(h.credits, 0)`,
};
