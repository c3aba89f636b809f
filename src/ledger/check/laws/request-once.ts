import { REQUEST_METHOD } from "../../../entities/request.js";
import type { Law } from "../law.js";

export const requestOnce: Law = {
  reads: ["transactions", "transactions"],
  findBreaches: ({ transactions, rowsOf }) => `
    SELECT coalesce(t.id, r.request_id)::text AS subject, CASE WHEN t.id IS NOT NULL THEN 'no request made this transaction'
      ELSE format('its transaction %s is missing', coalesce(r.transaction_id::text, '(none)')) END AS detail
    FROM ${transactions} t FULL JOIN ${rowsOf(
      "requests",
      `SELECT DISTINCT caller, request_id FROM ${transactions} t`,
      "caller = known.caller AND request_id = known.request_id",
    )} r ON r.transaction_id = t.id AND r.caller = t.caller AND r.request_id = t.request_id
    WHERE r.request_id IS NULL
      OR (t.id IS NULL AND (r.transaction_id IS NOT NULL OR r.method = ${REQUEST_METHOD.POST}))`,
};
