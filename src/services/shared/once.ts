import { assertPresent } from "../../base/assert.js";
import { decodeFailure, encodeFailure, FailureError, isRefusal, type Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { awaitReplicas, inClaimingTransaction, type Session } from "../../db/in-transaction.js";
import { RequestEntity, type RequestMethod, type RequestRow } from "../../entities/request.js";
import { appendRecords, type JournalRecord } from "../../journal/append.js";
import type { CallContext } from "../../rpc/context.js";
import { differingFields } from "./canonical.js";

/** How a message is written down: a generated message's own object. */
interface Codec<T> {
  /** The full name of the message. */
  readonly $type: string;
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** A method whose request is answered once. */
export interface OnceMethod<Request, Response> {
  readonly method: RequestMethod;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
  /** The answer about a thing whose stored answers were erased. */
  readonly erased?: (session: Session, resourceId: Uuid) => Promise<Omit<Response, "journalIndex">>;
}

/** What tells whether an answer is a stored one, and where in the journal its request is. */
interface Answer {
  readonly replayed: boolean;
  readonly journalIndex: bigint;
}

/** What the work of a request comes to. */
export interface OnceResult<Response extends Answer> {
  readonly response: Omit<Response, "journalIndex">;
  /** What the request concerns. */
  readonly resourceId?: Uuid;
  /** The transaction that it posted. */
  readonly transaction?: { readonly id: Uuid; readonly journalIndex: bigint };
  /** Where the work has appended its record itself. */
  readonly journalIndex?: bigint;
  /** What it changed, for the journal, unless the work has appended it itself. */
  readonly records?: readonly JournalRecord[];
}

/**
 * Answers a request once and for ever: claims `(caller, request_id)`, does the work, and stores the answer or the refusal,
 * in one database transaction. The same request again gets what is stored, marked as replayed; copies that arrive at
 * the same time wait for the first.
 * @param request with its defaults filled in: a field that is unset and one that is set to its default are the same request
 *
 * Fails with REQUEST_ID_REUSED when another request was answered under the id, with what the work refuses, and as
 * inClaimingTransaction() does. Failures that pass leave the id unused.
 */
export async function answerOnce<Request extends { readonly requestId: string }, Response extends Answer>(
  database: Database,
  context: CallContext,
  method: OnceMethod<Request, Response>,
  request: Request,
  work: (session: Session) => Promise<OnceResult<Response>>,
): Promise<Response> {
  const outcome = await inClaimingTransaction(database, context, async (session) => {
    const key = { caller: context.caller, requestId: context.requestId };
    const isNew = await claim(session, key, method, request);
    if (!isNew) {
      await awaitReplicas(session.client);
      return replay(session, key, method, request);
    }
    return settle(session, key, method, work);
  });
  // A refusal is stored with the transaction that committed; only now it leaves the call.
  if ("failure" in outcome) throw new FailureError(outcome.failure, outcome);
  return outcome.response;
}

type Key = Pick<RequestRow, "caller" | "requestId">;
type Outcome<Response> = { readonly response: Response } | { readonly failure: Failure; readonly replayed: boolean };

async function claim<Request, Response>(
  { client }: Session,
  key: Key,
  method: OnceMethod<Request, Response>,
  request: Request,
): Promise<boolean> {
  // Waits for a concurrent transaction that claims the same id.
  const { rowCount } = await client.query(
    "INSERT INTO requests (caller, request_id, method, request) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    [key.caller, key.requestId, method.method, Buffer.from(method.request.encode(request).finish())],
  );
  return rowCount === 1;
}

async function settle<Request, Response extends Answer>(
  session: Session,
  key: Key,
  method: OnceMethod<Request, Response>,
  work: (transaction: Session) => Promise<OnceResult<Response>>,
): Promise<Outcome<Response>> {
  const { client } = session;
  await client.query("SAVEPOINT work");
  let done: OnceResult<Response>;
  try {
    done = await work(session);
  } catch (error) {
    if (!(error instanceof FailureError && isRefusal(error.failure))) throw error;
    await client.query("ROLLBACK TO SAVEPOINT work");
    await storeRefusal(session, key, error);
    return { failure: error.failure, replayed: false };
  }
  const { records = [], transaction: posted } = done;
  const journalIndex = posted?.journalIndex ?? done.journalIndex;
  const response = withJournalIndex(done.response, journalIndex);
  await client.query(
    `UPDATE requests SET response = $3, resource_id = $4, transaction_id = $5, journal_index = $6
     WHERE caller = $1 AND request_id = $2`,
    [
      key.caller,
      key.requestId,
      Buffer.from(method.response.encode(response).finish()),
      done.resourceId ?? null,
      posted?.id ?? null,
      journalIndex ?? null,
    ],
  );
  return {
    response: records.length > 0 ? withJournalIndex(response, await appendRecords(client, records, key)) : response,
  };
}

/** The answer with its place in the journal; 0 while that is not known. */
function withJournalIndex<Response extends Answer>(
  answer: Omit<Response, "journalIndex">,
  journalIndex: bigint | undefined,
): Response {
  return { ...answer, journalIndex: journalIndex ?? 0n } as Response;
}

/**
 * Stores the refusal beside its request. The users whose data the request holds are locked, so that their erasure finds
 * it; of one who is erased already nothing is stored.
 */
async function storeRefusal({ client }: Session, key: Key, { failure, details }: FailureError): Promise<void> {
  const { userIds = [] } = details;
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

async function replay<Request, Response extends Answer>(
  session: Session,
  key: Key,
  method: OnceMethod<Request, Response>,
  request: Request,
): Promise<Outcome<Response>> {
  const stored = await session.manager.findOneByOrFail(RequestEntity, key);
  const differs = differences(stored, method, request);
  if (differs.length > 0) {
    return { failure: { reason: "REQUEST_ID_REUSED", requestId: key.requestId, differs }, replayed: false };
  }
  if (stored.failure !== null) return { failure: decodeFailure(stored.failure), replayed: true };
  const response =
    stored.response === null
      ? await assertPresent(method.erased, "the answer about an erased thing")(
          session,
          assertPresent(stored.resourceId, "an erased thing"),
        )
      : method.response.decode(stored.response);
  return { response: withJournalIndex({ ...response, replayed: true }, stored.journalIndex ?? undefined) };
}

/** The contract's names of the fields in which the request differs from the stored one; an erased one is taken as the same. */
function differences<Request, Response>(
  stored: RequestRow,
  method: OnceMethod<Request, Response>,
  request: Request,
): string[] {
  if (stored.method !== method.method) return ["method"];
  if (stored.request === null) return [];
  return differingFields(method.request.$type, method.request.encode(request).finish(), stored.request);
}
