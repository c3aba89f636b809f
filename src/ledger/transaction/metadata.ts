import type { Uuid } from "../../base/ids.js";
import { textArray } from "../../db/binary-array.js";
import { CLOCK } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";

/** The client's own data about a transaction. */
export type Metadata = Readonly<Record<string, string>>;

/** A change of metadata: pairs to set, and keys to remove; no key is in both. */
export interface MetadataChange {
  readonly set: Metadata;
  readonly remove: readonly string[];
}

/** The maximum number of pairs of a transaction; the contract bounds requests alike. */
export const PAIRS_MAX = 32;

/** The metadata of the transaction `t` after its latest change; no row when it never changed. */
export const LATEST_METADATA = `
SELECT c.metadata FROM metadata_changes c WHERE c.transaction_id = t.id ORDER BY c.revision DESC LIMIT 1`;

// A transaction's row cannot be locked, since nothing may change it; its request's row is locked instead.
const LOCK = `
SELECT t.id FROM transactions t JOIN requests r ON r.caller = t.caller AND r.request_id = t.request_id
WHERE t.id = $1 FOR NO KEY UPDATE OF r`;

const LATEST = `
SELECT coalesce(c.revision, 0) AS revision, coalesce(c.metadata, t.metadata, '{}') AS metadata
FROM transactions t
LEFT JOIN LATERAL (
  SELECT revision, metadata FROM metadata_changes WHERE transaction_id = t.id ORDER BY revision DESC LIMIT 1
) c ON true
WHERE t.id = $1`;

const CHANGE = `
INSERT INTO metadata_changes (transaction_id, revision, caller, set_pairs, removed_keys, metadata, create_time)
VALUES ($1, $2, $3, $4, $5::text[], $6, ${CLOCK})`;

/**
 * Changes the metadata of a transaction, in the caller's database transaction. Serializes concurrent changes.
 * @returns the metadata after the change, which is not written if it has more than PAIRS_MAX pairs; undefined when there is no such
 * transaction
 */
export async function changeMetadata(
  client: Queryable,
  transactionId: Uuid,
  caller: Uuid,
  change: MetadataChange,
): Promise<Metadata | undefined> {
  await client.query(LOCK, [transactionId]);
  const { rows } = await client.query<{ revision: number; metadata: Metadata }>(LATEST, [transactionId]);
  const [latest] = rows;
  if (latest === undefined) return undefined;
  const metadata = applyMetadataChange(latest.metadata, change);
  if (Object.keys(metadata).length > PAIRS_MAX) return metadata;
  await client.query(CHANGE, [
    transactionId,
    latest.revision + 1,
    caller,
    change.set,
    textArray(change.remove),
    metadata,
  ]);
  return metadata;
}

/** Returns the metadata after a change. */
export function applyMetadataChange(before: Metadata, { set, remove }: MetadataChange): Metadata {
  const remaining = Object.entries(before).filter(([key]) => !remove.includes(key));
  return { ...Object.fromEntries(remaining), ...set };
}
