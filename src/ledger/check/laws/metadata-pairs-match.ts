import type { Law } from "../law.js";

/** The keys that the transactions have or had. */
const KEYS = `
  SELECT t.id, t.journal_index, k.key FROM labelled t JOIN (
    SELECT id, jsonb_object_keys(metadata) AS key FROM labelled WHERE metadata IS NOT NULL
    UNION SELECT transaction_id, jsonb_object_keys(set_pairs) FROM change
    UNION SELECT transaction_id, jsonb_object_keys(metadata) FROM change
  ) k ON k.id = t.id`;

export const metadataPairsMatch: Law = {
  reads: ["transactions"],
  findBreaches: ({ labelledTransactions, rowsOf }) => `
    WITH labelled AS (
      SELECT id, journal_index, metadata FROM ${labelledTransactions} t
    ), change AS (
      SELECT transaction_id, revision, set_pairs, metadata
      FROM ${rowsOf("metadata_changes", "SELECT id FROM labelled", "transaction_id = known.id")} c
    )
    SELECT coalesce(t.id, p.transaction_id)::text AS subject, format('key %s: its value is %s, it is found by %s',
      coalesce(t.key, p.key), coalesce(t.value, '(none)'), coalesce(p.value, '(none)')) AS detail
    FROM (
      SELECT t.id, t.journal_index, pair.key, pair.value
      FROM labelled t LEFT JOIN (
        SELECT DISTINCT ON (transaction_id) transaction_id, metadata FROM change ORDER BY transaction_id, revision DESC
      ) latest ON latest.transaction_id = t.id
      CROSS JOIN LATERAL jsonb_each_text(coalesce(latest.metadata, t.metadata)) AS pair
    ) t FULL JOIN ${rowsOf(
      "transaction_metadata",
      KEYS,
      "key = known.key AND journal_index = known.journal_index AND transaction_id = known.id",
    )} p ON p.transaction_id = t.id AND p.journal_index = t.journal_index AND p.key = t.key AND p.value = t.value
    WHERE t.id IS NULL OR p.key IS NULL`,
};
