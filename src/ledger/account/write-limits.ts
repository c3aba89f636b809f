import type { Session } from "../../db/in-transaction.js";
import { readClock } from "../../db/clock.js";
import { AccountEntity } from "../../entities/account.js";
import type { Account } from "./account.js";
import { encodeVelocity, replaceVelocity, type Limits } from "./limits.js";

/**
 * Replaces the limits of an account, with the journal's head locked, and deletes the usage of the velocity limits that end.
 * @returns the limits as they are stored
 */
export async function writeLimits({ manager, client }: Session, account: Account, limits: Limits): Promise<Limits> {
  const { id } = account;
  const before = account.velocity ?? [];
  const velocity = replaceVelocity(before, limits.velocity, await readClock(client));
  const continued = velocity.filter(({ name, since }) =>
    before.some((one) => one.name === name && one.since === since),
  );
  await client.query("DELETE FROM velocity_usage WHERE account_id = $1 AND name <> ALL ($2::text[])", [
    id,
    continued.map(({ name }) => name),
  ]);
  await manager.update(
    AccountEntity,
    { id },
    {
      minBalance: limits.minBalanceMinor,
      maxBalance: limits.maxBalanceMinor,
      velocityLimits: encodeVelocity(velocity),
    },
  );
  return { ...limits, velocity };
}
