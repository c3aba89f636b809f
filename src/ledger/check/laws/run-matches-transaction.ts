import { TRANSACTION_STATE } from "../../../base/codes.js";
import { LEDGER_CALLER } from "../../../base/ids.js";
import { RUN_STATE } from "../../../entities/schedule.js";
import type { Law } from "../law.js";

export const runMatchesTransaction: Law = {
  reads: ["transactions"],
  findBreaches: ({ records, lookUp, rowsOf }) => `
    WITH run AS (
      SELECT * FROM ${rowsOf("schedule_runs", `SELECT DISTINCT id FROM ${records} r`, "id = known.id")} r
    )
    SELECT r.id::text AS subject, CASE WHEN s.id IS NULL THEN 'it has no schedule' WHEN t.id IS NULL THEN 'its transaction is missing'
      ELSE format('transaction %s is not what it made', t.id) END AS detail
    FROM run r
    LEFT JOIN ${lookUp("schedules", "s", "s.id = r.schedule_id")}
    LEFT JOIN ${lookUp("transactions", "t", "t.id = r.transaction_id")}
    WHERE s.id IS NULL OR t.id IS NULL
      OR (t.caller, t.request_id, t.kind, t.debit_account_id, t.credit_account_id, t.currency_code)
        IS DISTINCT FROM ('${LEDGER_CALLER}'::uuid, r.request_id, s.kind, s.debit_account_id, s.credit_account_id, s.currency_code)
      OR t.effective_time IS DISTINCT FROM r.planned_time
      OR t.amount > s.amount OR (t.amount < s.amount AND NOT s.is_up_to)
      OR (t.state = ${TRANSACTION_STATE.POSTED}) <> (r.state = ${RUN_STATE.POSTED})
    UNION ALL
    SELECT transaction_id::text, format('%s runs name this transaction', count(*))
    FROM run GROUP BY transaction_id HAVING count(*) > 1`,
};
