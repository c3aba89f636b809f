import {
  CreateUserRequest,
  CreateUserResponse,
  DeleteUserRequest,
  DeleteUserResponse,
  UpdateUserRequest,
  UpdateUserResponse,
  User as UserMessage,
  type UserServiceService,
} from "../../../generated/grey/user/v1/user_service.js";
import { IsNull, MoreThan, Not, type EntityManager } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail, FailureError } from "../../base/failure.js";
import { newId, parseId, type Uuid } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import { readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { ACCOUNT_STATE } from "../../base/codes.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { REQUEST_METHOD } from "../../entities/request.js";
import { UserEntity, type UserRow } from "../../entities/user.js";
import type { JournalRecord } from "../../journal/append.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce, type OnceMethod } from "../shared/once.js";
import { openPage, type PageTokens } from "../shared/paging.js";
import { toEtag } from "../shared/messages.js";

/** grey.user.v1.UserService. */
export function createUserService(database: Database, tokens: PageTokens): Methods<typeof UserServiceService> {
  return {
    createUser: (request, context) =>
      answerOnce(database, context, CREATE_USER, request, async (session) => {
        const now = await readDate(session.client);
        const user: UserRow = {
          id: newId(),
          name: request.name,
          email: request.email,
          emailKey: request.email.toLowerCase(),
          metadata: request.metadata,
          revision: 1,
          createTime: now,
          updateTime: now,
          deleteTime: null,
        };
        await assertEmailFree(session, user);
        await session.manager.insert(UserEntity, user);
        return toOnceResult(user, RECORD_TYPE.USER_CREATED);
      }),

    getUser: async ({ by }, context) => {
      const user = await readInSession(database, context, async ({ manager }) => {
        switch (by?.$case) {
          case "id":
            return manager.findOneBy(UserEntity, { id: parseId(by.value) });
          case "email":
            return manager.findOneBy(UserEntity, { emailKey: by.value.toLowerCase() });
          default:
            return null;
        }
      });
      const userId = by?.$case === "id" ? parseId(by.value) : undefined;
      return { user: toUserMessage(user ?? fail(userNotFound(userId))) };
    },

    listUsers: async (request, context) => {
      const scope = ["ListUsers", context.caller];
      const page = openPage(tokens, scope, request);
      const { items: users, nextPageToken } = await readInSession(database, context, ({ manager }) =>
        page.read({
          read: (after, take) =>
            manager.find(UserEntity, {
              where: { deleteTime: IsNull(), ...(after !== undefined && { id: MoreThan(after) }) },
              order: { id: "ASC" },
              take,
            }),
          render: (found) => found.map(toUserMessage),
          codec: UserMessage,
          cursorOf: (user) => user.id,
        }),
      );
      return { users, nextPageToken };
    },

    updateUser: (request, context) =>
      answerOnce(database, context, UPDATE_USER, request, async (session) => {
        const user = await lockUser(session, parseId(request.userId), request.etag);
        const paths = new Set(request.updateMask);
        if (paths.has("name")) user.name = request.name;
        if (paths.has("email")) {
          user.email = request.email;
          user.emailKey = request.email.toLowerCase();
        }
        if (paths.has("metadata")) user.metadata = request.metadata;
        await assertEmailFree(session, user);
        await store(session, user);
        return toOnceResult(user, RECORD_TYPE.USER_UPDATED);
      }),

    deleteUser: (request, context) =>
      answerOnce(database, context, DELETE_USER, request, async (session) => {
        const user = await lockUser(session, parseId(request.userId), request.etag);
        const now = await readDate(session.client);
        const closed = await closeWallets(session, user.id, now);
        Object.assign(user, {
          name: "",
          email: null,
          emailKey: null,
          metadata: {},
          deleteTime: now,
        });
        await store(session, user);
        // Stored requests and answers hold the personal data too.
        await session.client.query(
          "UPDATE requests SET request = NULL, response = NULL WHERE resource_id = $1 OR other_user_id = $1",
          [user.id],
        );
        const records = closed.map((id) => ({ id, type: RECORD_TYPE.WALLET_CLOSED }));
        return toOnceResult(user, RECORD_TYPE.USER_DELETED, records);
      }),
  };
}

const CREATE_USER: OnceMethod<CreateUserRequest, CreateUserResponse> = {
  method: REQUEST_METHOD.CREATE_USER,
  request: CreateUserRequest,
  response: CreateUserResponse,
  erased: answerErased,
};
const UPDATE_USER: OnceMethod<UpdateUserRequest, UpdateUserResponse> = {
  method: REQUEST_METHOD.UPDATE_USER,
  request: UpdateUserRequest,
  response: UpdateUserResponse,
  erased: answerErased,
};
const DELETE_USER: OnceMethod<DeleteUserRequest, DeleteUserResponse> = {
  method: REQUEST_METHOD.DELETE_USER,
  request: DeleteUserRequest,
  response: DeleteUserResponse,
  erased: answerErased,
};

/** The user, locked for the rest of the transaction so that no wallet is opened for it meanwhile. */
export async function lockUser(session: Session, userId: Uuid, etag: string): Promise<UserRow> {
  const user = await findLocked(session, userId, "pessimistic_write");
  if (etag !== "" && etag !== toEtag(user)) {
    throw new FailureError({ reason: "ETAG_MISMATCH", etag: toEtag(user) }, { userIds: [userId] });
  }
  return user;
}

/** Keeps the user from being changed or deleted for the rest of the transaction; others may keep it, too. */
export async function shareLockUser(session: Session, userId: Uuid): Promise<void> {
  await findLocked(session, userId, "pessimistic_read");
}

async function findLocked(
  { manager }: Session,
  userId: Uuid,
  mode: "pessimistic_read" | "pessimistic_write",
): Promise<UserRow> {
  const user = await manager.findOne(UserEntity, { where: { id: userId, deleteTime: IsNull() }, lock: { mode } });
  if (user === null) throw new FailureError(userNotFound(userId), { userIds: [userId] });
  return user;
}

/** Fails with USER_NOT_FOUND unless there is such a user; a deleted one counts when it is asked for. */
export async function assertUserExists(
  manager: EntityManager,
  userId: Uuid,
  { evenDeleted = false }: { readonly evenDeleted?: boolean } = {},
): Promise<void> {
  const exists = await manager.existsBy(UserEntity, { id: userId, ...(!evenDeleted && { deleteTime: IsNull() }) });
  if (!exists) fail(userNotFound(userId));
}

function userNotFound(userId: Uuid | undefined) {
  return { reason: "USER_NOT_FOUND", ...(userId !== undefined && { userId }) } as const;
}

async function store(session: Session, user: UserRow): Promise<void> {
  user.revision += 1;
  user.updateTime = await readDate(session.client);
  const { id, ...columns } = user;
  await session.manager.update(UserEntity, { id }, columns);
}

/**
 * Fails with EMAIL_TAKEN when another user has the email; the refused request holds data of both. Who takes it at the same
 * moment makes the write a conflict, and the next attempt sees it here.
 */
async function assertEmailFree({ manager }: Session, { id, emailKey }: UserRow): Promise<void> {
  const other = await manager.findOneBy(UserEntity, { emailKey: assertPresent(emailKey, "an email"), id: Not(id) });
  if (other !== null) throw new FailureError({ reason: "EMAIL_TAKEN" }, { userIds: [id, other.id] });
}

/** Closes the user's wallets, so that no money can reach what nobody owns. Fails: USER_HAS_FUNDS. */
async function closeWallets({ client }: Session, userId: Uuid, now: Date): Promise<Uuid[]> {
  const { rows } = await client.query<{ id: Uuid; state: number; has_funds: boolean }>(
    `SELECT id, state, balance <> 0 OR pending_debits <> 0 OR pending_credits <> 0 AS has_funds FROM accounts
     WHERE id IN (SELECT id FROM wallets WHERE user_id = $1) ORDER BY id FOR UPDATE`,
    [userId],
  );
  const funded = rows.find((row) => row.has_funds);
  if (funded !== undefined) fail({ reason: "USER_HAS_FUNDS", userId, walletId: funded.id });
  const open = rows.filter((row) => row.state !== ACCOUNT_STATE.CLOSED).map((row) => row.id);
  await client.query("UPDATE accounts SET state = $2, revision = revision + 1 WHERE id = ANY($1)", [
    open,
    ACCOUNT_STATE.CLOSED,
  ]);
  await client.query(
    // Why a wallet was frozen is no reason for its being closed, and may speak of the user.
    "UPDATE wallets SET state_reason = '', revision = revision + 1, update_time = $2 WHERE id = ANY($1)",
    [open, now],
  );
  return open;
}

function toOnceResult(user: UserRow, type: RecordType, more: readonly JournalRecord[] = []) {
  return {
    response: { user: toUserMessage(user), replayed: false },
    resourceId: user.id,
    records: [...more, { id: user.id, type }],
  };
}

async function answerErased({ manager }: Session, userId: Uuid) {
  return { user: toUserMessage(await manager.findOneByOrFail(UserEntity, { id: userId })), replayed: true };
}

function toUserMessage(user: UserRow): UserMessage {
  return {
    id: user.id,
    name: user.name,
    email: user.email ?? "",
    metadata: user.metadata,
    etag: toEtag(user),
    createTime: fromDate(user.createTime),
    updateTime: fromDate(user.updateTime),
    deleteTime: user.deleteTime === null ? undefined : fromDate(user.deleteTime),
  };
}
