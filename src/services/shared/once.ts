import { assertPresent } from "../../base/assert.js";
import { decodeFailure, FailureError, isRefusal, type Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { awaitReplicas, inClaimingTransaction, type Session } from "../../db/in-transaction.js";
import { REQUEST_METHOD, RequestEntity, type RequestRow } from "../../entities/request.js";
import { appendRecords, type JournalRecord } from "../../journal/append.js";
import type { CallContext } from "../../rpc/context.js";
import { findDifferingFields } from "./canonical.js";
import { ONCE_METHODS, type OnceMethodName, type OnceRequest, type OnceResponse } from "./once-methods.js";
import { beginWork, claimRequest, rollBackWork, storeAnswer, storeRefusal, type RequestId } from "./requests.js";

/** The result of a request's work. */
export interface OnceResult<Response> {
  readonly response: Omit<Response, "journalIndex">;
  /** The resource that the request is about. */
  readonly resourceId?: Uuid;
  /** The transaction that it posted. */
  readonly transaction?: { readonly id: Uuid; readonly journalIndex: bigint };
  /** The index of the record that the work has appended itself. */
  readonly journalIndex?: bigint;
  /** The records to append, unless the work has appended them itself. */
  readonly records?: readonly JournalRecord[];
}

/**
 * Answers a request once and for ever: claims `(caller, request_id)`, does the work, and stores the answer or the refusal,
 * in one database transaction. The same request again gets the stored answer, marked as replayed; copies that arrive at
 * the same time wait for the first.
 * @param request with its defaults filled in: a field that is unset and one that is set to its default are the same request
 *
 * Fails with REQUEST_ID_REUSED when the id has answered another request, with the refusals of the work, and as
 * inClaimingTransaction() does. Transient failures leave the id unused.
 */
export async function answerOnce<Name extends OnceMethodName>(
  database: Database,
  context: CallContext,
  method: Name,
  request: OnceRequest<Name>,
  work: (session: Session) => Promise<OnceResult<OnceResponse<Name>>>,
): Promise<OnceResponse<Name>> {
  const key = { caller: context.caller, requestId: context.requestId };
  const encoded = ONCE_METHODS[method].request.encode(request).finish();
  const outcome = await inClaimingTransaction(database, context, async (session) => {
    if (await claimRequest(session.client, key, REQUEST_METHOD[method], encoded))
      return answerFirst(session, key, method, work);
    await awaitReplicas(session.client);
    return replay(session, key, method, encoded);
  });
  // A refusal is thrown only after the transaction that stores it has committed.
  if ("failure" in outcome) throw new FailureError(outcome.failure, outcome);
  return outcome.response;
}

type Outcome<Response> = { readonly response: Response } | { readonly failure: Failure; readonly replayed: boolean };

/** Does the work of a request that has claimed its id, and stores the answer or the refusal. */
async function answerFirst<Name extends OnceMethodName>(
  session: Session,
  key: RequestId,
  method: Name,
  work: (session: Session) => Promise<OnceResult<OnceResponse<Name>>>,
): Promise<Outcome<OnceResponse<Name>>> {
  const { client } = session;
  await beginWork(client);
  let result: OnceResult<OnceResponse<Name>>;
  try {
    result = await work(session);
  } catch (error) {
    if (!(error instanceof FailureError && isRefusal(error.failure))) throw error;
    await rollBackWork(client);
    await storeRefusal(client, key, error);
    return { failure: error.failure, replayed: false };
  }
  const { records = [], transaction, resourceId } = result;
  const journalIndex = transaction?.journalIndex ?? result.journalIndex;
  const response = withJournalIndex(result.response, journalIndex);
  await storeAnswer(client, key, {
    response: ONCE_METHODS[method].response.encode(response).finish(),
    resourceId,
    transactionId: transaction?.id,
    journalIndex,
  });
  return {
    response: records.length > 0 ? withJournalIndex(response, await appendRecords(client, records, key)) : response,
  };
}

/** Returns the response with its place in the journal; 0 while that is not known. */
function withJournalIndex<Response>(
  response: Omit<Response, "journalIndex">,
  journalIndex: bigint | undefined,
): Response {
  return { ...response, journalIndex: journalIndex ?? 0n } as Response;
}

/** Answers a request whose id is used already. */
async function replay<Name extends OnceMethodName>(
  session: Session,
  key: RequestId,
  method: Name,
  request: Uint8Array,
): Promise<Outcome<OnceResponse<Name>>> {
  const { response: codec, answerErased } = ONCE_METHODS[method];
  const stored = await session.manager.findOneByOrFail(RequestEntity, key);
  const differs = findRequestDifferences(stored, method, request);
  if (differs.length > 0)
    return { failure: { reason: "REQUEST_ID_REUSED", requestId: key.requestId, differs }, replayed: false };
  if (stored.failure !== null) return { failure: decodeFailure(stored.failure), replayed: true };
  const response =
    stored.response === null
      ? await assertPresent(answerErased, "the answer about an erased resource")(
          session,
          assertPresent(stored.resourceId, "an erased resource"),
        )
      : codec.decode(stored.response);
  return { response: withJournalIndex({ ...response, replayed: true }, stored.journalIndex ?? undefined) };
}

/** Names the fields in which the request differs from the stored one, as the contract does. An erased one does not differ. */
function findRequestDifferences(stored: RequestRow, method: OnceMethodName, request: Uint8Array): string[] {
  if (stored.method !== REQUEST_METHOD[method]) return ["method"];
  if (stored.request === null) return [];
  return findDifferingFields(ONCE_METHODS[method].request.$type, request, stored.request);
}
