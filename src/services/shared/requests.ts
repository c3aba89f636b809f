import { encodeFailure, type FailureError } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Queryable } from "../../db/database.js";
import type { RequestMethod, RequestRow } from "../../entities/request.js";

// The statements of answerOnce() on the table of requests.

/** The key of a request. */
export type RequestId = Pick<RequestRow, "caller" | "requestId">;

/**
 * Inserts a request under its id. Waits for a concurrent transaction that claims the same id.
 * @returns false if the id is used already
 */
export async function claimRequest(
  client: Queryable,
  key: RequestId,
  method: RequestMethod,
  request: Uint8Array,
): Promise<boolean> {
  const { rowCount } = await client.query(
    "INSERT INTO requests (caller, request_id, method, request) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    [key.caller, key.requestId, method, Buffer.from(request)],
  );
  return rowCount === 1;
}

/** The answer to a claimed request. */
interface EncodedAnswer {
  readonly response: Uint8Array;
  readonly resourceId: Uuid | undefined;
  readonly transactionId: Uuid | undefined;
  readonly journalIndex: bigint | undefined;
}

/** Stores an answer with its claimed request. */
export async function storeAnswer(client: Queryable, key: RequestId, answer: EncodedAnswer): Promise<void> {
  await client.query(
    `UPDATE requests SET response = $3, resource_id = $4, transaction_id = $5, journal_index = $6
     WHERE caller = $1 AND request_id = $2`,
    [
      key.caller,
      key.requestId,
      Buffer.from(answer.response),
      answer.resourceId ?? null,
      answer.transactionId ?? null,
      answer.journalIndex ?? null,
    ],
  );
}

/**
 * Stores a refusal with its claimed request. Locks the users whose personal data the request contains, so that their erasure
 * finds it; the request itself is not stored if one of them is erased already.
 */
export async function storeRefusal(
  client: Queryable,
  key: RequestId,
  { failure, details: { userIds = [] } }: FailureError,
): Promise<void> {
  const { rows } = await client.query<{ is_erased: boolean }>(
    "SELECT delete_time IS NOT NULL AS is_erased FROM users WHERE id = ANY($1) ORDER BY id FOR SHARE",
    [userIds],
  );
  const isErased = rows.some((row) => row.is_erased);
  await client.query(
    `UPDATE requests SET failure = $3, resource_id = $4, other_user_id = $5, request = CASE WHEN $6 THEN NULL ELSE request END
     WHERE caller = $1 AND request_id = $2`,
    [key.caller, key.requestId, encodeFailure(failure), userIds[0] ?? null, userIds[1] ?? null, isErased],
  );
}

/** Erases the stored requests and answers that contain personal data of a user. */
export async function eraseRequests(client: Queryable, userId: Uuid): Promise<void> {
  await client.query(
    "UPDATE requests SET request = NULL, response = NULL WHERE resource_id = $1 OR other_user_id = $1",
    [userId],
  );
}

/** Begins a savepoint, to which rollBackWork() returns. */
export async function beginWork(client: Queryable): Promise<void> {
  await client.query("SAVEPOINT work");
}

/** Undoes everything since beginWork(). */
export async function rollBackWork(client: Queryable): Promise<void> {
  await client.query("ROLLBACK TO SAVEPOINT work");
}
