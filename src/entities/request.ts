import { EntitySchema } from "typeorm";

/** The methods that take a request_id, as they are stored. A number is never reused for another method. */
export const REQUEST_METHOD = {
  POST: 1,
  CREATE_USER: 2,
  UPDATE_USER: 3,
  DELETE_USER: 4,
  CREATE_WALLET: 5,
  UPDATE_WALLET: 6,
  CREATE_CURRENCY: 7,
  FREEZE_WALLET: 8,
  UNFREEZE_WALLET: 9,
  CLOSE_WALLET: 10,
  REOPEN_WALLET: 11,
  CREATE_ACCOUNT: 12,
  SET_LIMITS: 13,
  SET_DEFAULT_LIMITS: 14,
  SET_RATE: 15,
  SET_TRANSACTION_METADATA: 20,
  CREATE_SCHEDULE: 30,
  PAUSE_SCHEDULE: 31,
  RESUME_SCHEDULE: 32,
  CANCEL_SCHEDULE: 33,
  /** The claim of the request id of a scheduled attempt, which prevents the attempt. */
  WITHHOLD_RUN: 34,
  CREATE_ALERT: 35,
  DELETE_ALERT: 36,
} as const;
export type RequestMethod = (typeof REQUEST_METHOD)[keyof typeof REQUEST_METHOD];

/**
 * An answered request, kept for ever: `(caller, request_id)` is unique over all methods. A movement's answer is its transaction;
 * every other method stores request and response as they were encoded.
 */
export interface RequestRow {
  readonly caller: string;
  readonly requestId: string;
  readonly method: RequestMethod;
  /** The transaction that it made; null for none. */
  readonly transactionId: string | null;
  /** The user, wallet or other resource that it concerns; null for none. */
  readonly resourceId: string | null;
  /** Another user whose personal data a refused request contains: the owner of the email address in it. */
  readonly otherUserId: string | null;
  /** The request message; null for movements and after the erasure of its user. */
  readonly request: Buffer | null;
  /** The response message; null for movements, refusals, and after the erasure of its user. */
  readonly response: Buffer | null;
  /** The failure of a refused request, as encodeFailure() writes it; null for movements. */
  readonly failure: string | null;
  /** The index of its latest journal record; null for refusals and for movements, whose transactions have it. */
  readonly journalIndex: bigint | null;
}

export const RequestEntity = new EntitySchema<RequestRow>({
  name: "Request",
  tableName: "requests",
  columns: {
    caller: { type: "uuid", primary: true, primaryKeyConstraintName: "requests_pkey" },
    requestId: { type: "uuid", primary: true, name: "request_id", primaryKeyConstraintName: "requests_pkey" },
    method: { type: "smallint" },
    transactionId: { type: "uuid", name: "transaction_id", nullable: true },
    resourceId: { type: "uuid", name: "resource_id", nullable: true },
    otherUserId: { type: "uuid", name: "other_user_id", nullable: true },
    request: { type: "bytea", nullable: true },
    response: { type: "bytea", nullable: true },
    failure: { type: "text", nullable: true },
    journalIndex: { type: "bigint", name: "journal_index", nullable: true },
  },
  indices: [
    { name: "requests_resource", columns: ["resourceId"], where: "(resource_id IS NOT NULL)" },
    { name: "requests_other_user", columns: ["otherUserId"], where: "(other_user_id IS NOT NULL)" },
  ],
});
