import { assert } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import { int2Array, uuidArray } from "../db/binary-array.js";
import type { Queryable } from "../db/database.js";
import type { RecordType } from "../entities/journal.js";

/** What changed: the thing and how. */
export interface JournalRecord {
  readonly id: Uuid;
  readonly type: RecordType;
}

// The head stays locked until the transaction ends, so indexes follow commits and leave no gap. Whoever appends has
// locked everything else before: accounts in id order, then requests, then the head.
const APPEND_RECORDS = `
WITH head AS (
  UPDATE journal_head SET size = size + cardinality($1::uuid[]), last_time = greatest(last_time, clock_timestamp())
  RETURNING size - cardinality($1::uuid[]) AS first_index, last_time AS now
)
INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
SELECT first_index, $1::uuid[], $2::smallint[], now FROM head`;

/** Appends the records, at least one, in the caller's transaction; the last thing that it locks. */
export async function appendRecords(client: Queryable, records: readonly JournalRecord[]): Promise<void> {
  const { rowCount } = await client.query({
    name: "journal-append",
    text: APPEND_RECORDS,
    values: [uuidArray(records.map((record) => record.id)), int2Array(records.map((record) => record.type))],
  });
  assert(rowCount === 1, "the journal has no head");
}
