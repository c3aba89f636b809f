import { assert } from "../base/assert.js";
import type { Queryable } from "../db/database.js";
import type { JournalRecord } from "./append.js";

/** A record and its index. */
export interface PlacedRecord extends JournalRecord {
  readonly index: bigint;
}

// A record is in the last batch that begins at its index or before.
const RECORDS = `
SELECT b.first_index + r.position - 1 AS index, r.id, r.type
FROM journal_batches b CROSS JOIN LATERAL unnest(b.record_ids, b.record_types) WITH ORDINALITY AS r (id, type, position)
WHERE b.first_index >= (SELECT max(first_index) FROM journal_batches WHERE first_index <= $1::bigint)
  AND b.first_index < $2::bigint
  AND b.first_index + r.position - 1 >= $1 AND b.first_index + r.position - 1 < $2
ORDER BY b.first_index, r.position`;

/**
 * Reads the records from one index up to another, which is excluded.
 * @param before at most the journal's size, and more than `from`
 */
export async function readRecords(client: Queryable, from: bigint, before: bigint): Promise<PlacedRecord[]> {
  const { rows } = await client.query<PlacedRecord>({ name: "journal-records", text: RECORDS, values: [from, before] });
  // Indexes follow commits: every record below a size that was read is visible.
  const isWhole = rows.every(({ index }, offset) => index === from + BigInt(offset));
  assert(isWhole && BigInt(rows.length) === before - from, "the journal has a gap");
  return rows;
}
