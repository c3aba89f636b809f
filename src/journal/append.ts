import type { Uuid } from "../base/ids.js";
import type { Micros } from "../base/time.js";
import { int2Array, uuidArray } from "../db/binary-array.js";
import type { Queryable } from "../db/database.js";
import type { RecordType } from "../entities/journal.js";

/** What changed: the thing and how. */
export interface JournalRecord {
  readonly id: Uuid;
  readonly type: RecordType;
}

/** Where the records stand: the first has this index, the others follow without a gap. */
export interface Appended {
  readonly firstIndex: bigint;
  /** The database's clock once the head was locked; it never falls along the index. */
  readonly now: Micros;
}

// The head stays locked until the transaction ends, so indexes follow commits and leave no gap. Whoever appends has
// locked everything else before: accounts in id order, then requests, then the head.
const APPEND_RECORDS = `
WITH head AS (
  UPDATE journal_head SET size = size + cardinality($1::uuid[]), last_time = greatest(last_time, clock_timestamp())
  RETURNING size - cardinality($1::uuid[]) AS first_index, last_time AS now
)
INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
SELECT first_index, $1::uuid[], $2::smallint[], now FROM head
RETURNING first_index, (extract(epoch FROM create_time) * 1000000)::bigint AS now`;

/** Appends the records, at least one, in the caller's transaction; the last thing that it locks. */
export async function appendRecords(client: Queryable, records: readonly JournalRecord[]): Promise<Appended> {
  const { rows } = await client.query<{ first_index: bigint; now: bigint }>({
    name: "journal-append",
    text: APPEND_RECORDS,
    values: [uuidArray(records.map((record) => record.id)), int2Array(records.map((record) => record.type))],
  });
  const [row] = rows;
  if (row === undefined) throw new Error("the journal has no head");
  return { firstIndex: row.first_index, now: row.now };
}
