import type { Law } from "../law.js";

export const journalDense: Law = {
  reads: ["records"],
  findBreaches: ({ batches, firstBatchIndex }) => `
    SELECT first_index::text AS subject, format('expected index %s', expected) AS detail
    FROM (
      SELECT first_index, coalesce(lag(first_index + cardinality(record_ids)) OVER (ORDER BY first_index), ${firstBatchIndex}) AS expected
      FROM ${batches} b
    ) run WHERE first_index <> expected
    UNION ALL
    SELECT h.size::text, format('the head counts %s records, there are %s', h.size, b.size)
    FROM journal_head h, (SELECT ${firstBatchIndex} + coalesce(sum(cardinality(record_ids)), 0) AS size FROM ${batches} b) b
    WHERE h.size <> b.size`,
};
