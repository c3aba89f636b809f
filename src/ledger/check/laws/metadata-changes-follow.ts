import { RECORD_TYPE } from "../../../entities/journal.js";
import type { Law } from "../law.js";

export const metadataChangesFollow: Law = {
  reads: ["transactions"],
  findBreaches: ({ labelledTransactions, records, rowsOf, choose }) => `
    WITH labelled AS (
      SELECT id, metadata FROM ${labelledTransactions} t
    ), change AS (
      SELECT transaction_id, revision, set_pairs, removed_keys, metadata
      FROM ${rowsOf("metadata_changes", "SELECT id FROM labelled", "transaction_id = known.id")} c
    )
    SELECT transaction_id::text AS subject, CASE WHEN id IS NULL THEN 'metadata of a transaction that does not exist was changed'
      ELSE format('change %s of its metadata does not follow from what was before', revision) END AS detail
    FROM (
      SELECT c.*, t.id, row_number() OVER w AS expected, coalesce(lag(c.metadata) OVER w, t.metadata, '{}') AS before
      FROM change c LEFT JOIN labelled t ON t.id = c.transaction_id
      WINDOW w AS (PARTITION BY c.transaction_id ORDER BY c.revision)
    ) run
    WHERE id IS NULL OR revision <> expected OR metadata <> (before || set_pairs) - removed_keys
    UNION ALL
    SELECT coalesce(c.id, r.id)::text, format('%s changes of its metadata, %s records of them', coalesce(c.count, 0), coalesce(r.count, 0))
    FROM (SELECT transaction_id AS id, count(*) AS count FROM change GROUP BY 1) c FULL JOIN (
      SELECT id, count(*) AS count FROM ${records} r WHERE type = ${RECORD_TYPE.TRANSACTION_METADATA_SET} GROUP BY 1
    ) r ON r.id = c.id
    -- Changes have no place in the journal: with only the new records at hand, there may be more changes.
    WHERE coalesce(c.count, 0) ${choose("<>", "<")} coalesce(r.count, 0)`,
};
