import { User as UserMessage, type UserServiceService } from "../../../generated/grey/user/v1/user_service.js";
import { IsNull, MoreThan, Not } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail, FailureError } from "../../base/failure.js";
import { newId, parseId } from "../../base/ids.js";
import { readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { UserEntity, type UserRow } from "../../entities/user.js";
import type { JournalRecord } from "../../journal/append.js";
import { closeWallets } from "../../ledger/account/close-wallets.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";
import { eraseRequests } from "../shared/requests.js";
import { toUserMessage } from "./user-message.js";
import { lockUserForUpdate, userNotFound } from "./users.js";

/** Creates grey.user.v1.UserService. */
export function createUserService(database: Database, tokens: PageTokens): Methods<typeof UserServiceService> {
  return {
    createUser: (request, context) =>
      answerOnce(database, context, "CREATE_USER", request, async (session) => {
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
        return toResult(user, RECORD_TYPE.USER_CREATED);
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

    listUsers: (request, context) => {
      return listPage(database, tokens, request, context, ["ListUsers"], ({ manager }) => ({
        field: "users",
        read: (after, take) =>
          manager.find(UserEntity, {
            where: { deleteTime: IsNull(), ...(after !== undefined && { id: MoreThan(after) }) },
            order: { id: "ASC" },
            take,
          }),
        render: (found) => found.map(toUserMessage),
        codec: UserMessage,
        cursorOf: (user) => user.id,
      }));
    },

    updateUser: (request, context) =>
      answerOnce(database, context, "UPDATE_USER", request, async (session) => {
        const user = await lockUserForUpdate(session, parseId(request.userId), request.etag);
        const paths = new Set(request.updateMask);
        if (paths.has("name")) user.name = request.name;
        if (paths.has("email")) {
          user.email = request.email;
          user.emailKey = request.email.toLowerCase();
        }
        if (paths.has("metadata")) user.metadata = request.metadata;
        await assertEmailFree(session, user);
        await update(session, user);
        return toResult(user, RECORD_TYPE.USER_UPDATED);
      }),

    deleteUser: (request, context) =>
      answerOnce(database, context, "DELETE_USER", request, async (session) => {
        const user = await lockUserForUpdate(session, parseId(request.userId), request.etag);
        const now = await readDate(session.client);
        const closedIds = await closeWallets(session.client, user.id, now);
        Object.assign(user, {
          name: "",
          email: null,
          emailKey: null,
          metadata: {},
          deleteTime: now,
        });
        await update(session, user);
        await eraseRequests(session.client, user.id);
        const records = closedIds.map((id) => ({ id, type: RECORD_TYPE.WALLET_CLOSED }));
        return toResult(user, RECORD_TYPE.USER_DELETED, records);
      }),
  };
}

/** Stores the changed user as its next revision. */
async function update(session: Session, user: UserRow): Promise<void> {
  user.revision += 1;
  user.updateTime = await readDate(session.client);
  const { id, ...columns } = user;
  await session.manager.update(UserEntity, { id }, columns);
}

/**
 * Fails with EMAIL_TAKEN if another user has the email address; the refused request contains personal data of both. A concurrent
 * transaction that takes the address makes the write fail as a conflict, and the next attempt finds it here.
 */
async function assertEmailFree({ manager }: Session, { id, emailKey }: UserRow): Promise<void> {
  const other = await manager.findOneBy(UserEntity, { emailKey: assertPresent(emailKey, "an email"), id: Not(id) });
  if (other !== null) throw new FailureError({ reason: "EMAIL_TAKEN" }, { userIds: [id, other.id] });
}

/** @param earlier records to append before the user's own */
function toResult(user: UserRow, type: RecordType, earlier: readonly JournalRecord[] = []) {
  return {
    response: { user: toUserMessage(user), replayed: false },
    resourceId: user.id,
    records: [...earlier, { id: user.id, type }],
  };
}
