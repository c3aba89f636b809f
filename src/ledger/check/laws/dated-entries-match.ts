import { TRANSACTION_STATE } from "../../../base/codes.js";
import type { Law } from "../law.js";

export const datedEntriesMatch: Law = {
  reads: ["transactions", "entries"],
  findBreaches: ({ transactions, entries, rowsOf }) => `
    SELECT coalesce(e.transaction_id, d.transaction_id)::text AS subject,
      format('entry %s of account %s is not counted by effective time as it is recorded', coalesce(e.sequence, d.sequence),
        coalesce(e.account_id, d.account_id)) AS detail
    FROM (
      SELECT e.account_id, e.sequence, e.transaction_id, e.amount, e.create_time, t.effective_time,
        dated_span(e.create_time - t.effective_time) AS span
      FROM ${transactions} t JOIN ${entries} e ON e.transaction_id = t.id
      WHERE t.effective_time IS NOT NULL AND t.state = ${TRANSACTION_STATE.POSTED}
    ) e FULL JOIN ${rowsOf(
      "dated_entries",
      `SELECT DISTINCT account_id, sequence FROM ${entries} e`,
      "account_id = known.account_id AND sequence = known.sequence",
    )} d ON d.account_id = e.account_id AND d.sequence = e.sequence
      AND d.transaction_id = e.transaction_id AND d.amount = e.amount AND d.create_time = e.create_time
      AND d.effective_time = e.effective_time AND d.span = e.span
    WHERE e.account_id IS NULL OR d.account_id IS NULL`,
};
