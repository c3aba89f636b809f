import type { User as UserMessage } from "../../../generated/grey/user/v1/user_service.js";
import type { Uuid } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import type { Session } from "../../db/in-transaction.js";
import { UserEntity, type UserRow } from "../../entities/user.js";
import { toEtag } from "../shared/messages.js";

export function toUserMessage(user: UserRow): UserMessage {
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

/** Answers a repeated request about a deleted user, whose stored answers were erased, with the user as it is now. */
export async function answerErasedUser({ manager }: Session, userId: Uuid) {
  return { user: toUserMessage(await manager.findOneByOrFail(UserEntity, { id: userId })), replayed: true };
}
