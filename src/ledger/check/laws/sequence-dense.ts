import type { Law } from "../law.js";

export const sequenceDense: Law = {
  reads: ["accounts", "entries"],
  findBreaches: ({ accountStates, entries }) => `
    SELECT a.id::text AS subject, format('the latest entry is %s, with %s entries after %s', a.sequence, coalesce(e.n, 0),
      a.sequence_before) AS detail
    FROM ${accountStates} a LEFT JOIN (
      SELECT account_id, count(*) AS n FROM ${entries} e GROUP BY account_id
    ) e ON e.account_id = a.id
    WHERE a.sequence <> a.sequence_before + coalesce(e.n, 0)`,
};
