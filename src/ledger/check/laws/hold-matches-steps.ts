import { TRANSACTION_KIND, TRANSACTION_STATE } from "../../../base/codes.js";
import type { Law } from "../law.js";

const { HOLD, HOLD_INCREASE, HOLD_CAPTURE } = TRANSACTION_KIND;

export const holdMatchesSteps: Law = {
  reads: ["transactions"],
  findBreaches: ({ transactions, rowsOf, lookUp, choose }) => {
    // No index finds the step before the first new one, so nothing is known before it.
    const before = (column: string): string =>
      `coalesce(lag(${column}) OVER w, CASE WHEN kind = ${HOLD} THEN 0 ELSE ${choose("0", "NULL")} END)`;
    return `
    WITH step AS (
      SELECT id, hold_id, kind, amount, hold_amount, hold_captured, hold_state, hold_expire_time, lead(id) OVER w IS NULL AS is_latest,
        ${before("hold_amount")} AS amount_before, ${before("hold_captured")} AS captured_before
      FROM ${transactions} t WHERE hold_id IS NOT NULL AND state = ${TRANSACTION_STATE.POSTED}
      WINDOW w AS (PARTITION BY hold_id ORDER BY journal_index)
    )
    SELECT coalesce(h.id, t.hold_id)::text AS subject, CASE WHEN h.id IS NULL THEN format('transaction %s is a step of no hold', t.id)
      WHEN t.id IS NULL THEN 'it has no steps'
      ELSE format('it holds %s, captured %s, state %s; its latest step left %s, %s, %s', h.amount, h.captured, h.state, t.hold_amount,
        t.hold_captured, t.hold_state) END AS detail
    FROM (SELECT * FROM step WHERE is_latest) t
    FULL JOIN ${rowsOf("holds", "SELECT DISTINCT hold_id AS id FROM step", "id = known.id")} h ON h.id = t.hold_id
    WHERE (h.id, h.amount, h.captured, h.state, h.expire_time)
      IS DISTINCT FROM (t.hold_id, t.hold_amount, t.hold_captured, t.hold_state, t.hold_expire_time)
    UNION ALL
    SELECT hold_id::text, format('after transaction %s it holds %s, captured %s, which does not follow', id, hold_amount, hold_captured)
    FROM step
    WHERE hold_amount <> amount_before + CASE WHEN kind IN (${HOLD}, ${HOLD_INCREASE}) THEN amount ELSE 0 END
      OR hold_captured <> captured_before + CASE WHEN kind = ${HOLD_CAPTURE} THEN amount ELSE 0 END
    UNION ALL
    SELECT t.hold_id::text, format('transaction %s is a rejected step of no hold', t.id)
    FROM ${transactions} t LEFT JOIN ${lookUp("holds", "h", "h.id = t.hold_id")}
    WHERE t.hold_id IS NOT NULL AND t.state = ${TRANSACTION_STATE.REJECTED} AND h.id IS NULL`;
  },
};
