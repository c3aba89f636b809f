import { IsNull, type EntityManager } from "typeorm";
import { fail, FailureError, type Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Session } from "../../db/in-transaction.js";
import { UserEntity, type UserRow } from "../../entities/user.js";
import { WalletEntity } from "../../entities/wallet.js";
import { toEtag } from "../shared/messages.js";

/**
 * Finds a user and locks it for a change, so that no wallet is opened for it meanwhile.
 * @param etag of the version to change; "" for any
 * Fails: USER_NOT_FOUND, ETAG_MISMATCH
 */
export async function lockUserForUpdate(session: Session, userId: Uuid, etag: string): Promise<UserRow> {
  const user = await lockUser(session, userId, "pessimistic_write");
  if (etag !== "" && etag !== toEtag(user))
    throw new FailureError({ reason: "ETAG_MISMATCH", etag: toEtag(user) }, { userIds: [userId] });
  return user;
}

/** Prevents changes and the deletion of a user until the database transaction ends. Fails: USER_NOT_FOUND. */
export async function lockUserForShare(session: Session, userId: Uuid): Promise<void> {
  await lockUser(session, userId, "pessimistic_read");
}

async function lockUser(
  { manager }: Session,
  userId: Uuid,
  mode: "pessimistic_read" | "pessimistic_write",
): Promise<UserRow> {
  const user = await manager.findOne(UserEntity, { where: { id: userId, deleteTime: IsNull() }, lock: { mode } });
  if (user === null) throw new FailureError(userNotFound(userId), { userIds: [userId] });
  return user;
}

/** Finds the ids of the wallets of a user, who may be deleted. Fails: USER_NOT_FOUND. */
export async function findWalletIds(manager: EntityManager, userId: Uuid): Promise<Uuid[]> {
  await assertUserExists(manager, userId);
  const wallets = await manager.find(WalletEntity, { select: { id: true }, where: { userId } });
  return wallets.map(({ id }) => id);
}

/** Fails with USER_NOT_FOUND unless there is or was such a user. */
export async function assertUserExists(manager: EntityManager, userId: Uuid): Promise<void> {
  if (!(await manager.existsBy(UserEntity, { id: userId }))) fail(userNotFound(userId));
}

/** @param userId undefined if the user was named by email */
export function userNotFound(userId: Uuid | undefined): Failure {
  return { reason: "USER_NOT_FOUND", ...(userId !== undefined && { userId }) };
}
