import { assertPresent } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import { int2Array, uuidArray } from "../db/binary-array.js";
import type { Queryable } from "../db/database.js";
import type { RecordType } from "../entities/journal.js";

/** A change of state: the id of the object, and the type of the change. */
export interface JournalRecord {
  readonly id: Uuid;
  readonly type: RecordType;
}

// The head stays locked until the transaction ends, so indexes follow commits and leave no gap. The caller has taken all other
// locks before. The head's revision stays: the records change nothing that postings are decided from.
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
 * Appends the records, at least one, in the caller's transaction, whose last lock is the journal's head.
 * @param request the request that caused them, if any, which the caller has claimed; the last index is stored with it
 * @returns the index of the last record
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
