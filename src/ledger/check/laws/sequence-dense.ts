import type { Law } from "../law.js";

export const sequenceDense: Law = {
  reads: ["accounts", "entries"],
  findBreaches: ({ accounts, entries }) => `
    SELECT a.id::text AS subject, format('sequence is %s, with %s entries after %s, up to %s', a.sequence, coalesce(e.n, 0),
      a.sequence_before, coalesce(e.last, a.sequence_before)) AS detail
    FROM ${accounts} a LEFT JOIN (
      SELECT account_id, count(*) AS n, max(sequence) AS last FROM ${entries} e GROUP BY account_id
    ) e ON e.account_id = a.id
    WHERE a.sequence <> a.sequence_before + coalesce(e.n, 0) OR a.sequence <> coalesce(e.last, a.sequence_before)`,
};
