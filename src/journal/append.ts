import { assertPresent } from "../base/assert.js";
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
  WHERE id = 1
  RETURNING size - cardinality($1::uuid[]) AS first_index, size - 1 AS last_index, last_time AS now
), batch AS (
  INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
  SELECT first_index, $1::uuid[], $2::smallint[], now FROM head
), request AS (
  UPDATE requests SET journal_index = head.last_index FROM head WHERE caller = $3 AND request_id = $4
)
SELECT last_index FROM head`;

/**
 * Appends the records, at least one, in the caller's transaction; the last thing that it locks.
 * @param request the request that they come of, which the caller has claimed, if they come of one; it keeps the index
 * @returns the index of the last one
 */
export async function appendRecords(
  client: Queryable,
  records: readonly JournalRecord[],
  request?: { readonly caller: Uuid; readonly requestId: Uuid },
): Promise<bigint> {
  const { rows } = await client.query<{ last_index: bigint }>({
    name: "journal-append",
    text: APPEND_RECORDS,
    values: [
      uuidArray(records.map((record) => record.id)),
      int2Array(records.map((record) => record.type)),
      request?.caller ?? null,
      request?.requestId ?? null,
    ],
  });
  return assertPresent(rows[0], "the journal's head").last_index;
}
