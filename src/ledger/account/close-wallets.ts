import { ACCOUNT_STATE, type AccountState } from "../../base/codes.js";
import { fail } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Queryable } from "../../db/database.js";
import { lockHead } from "../../journal/head.js";

/** Closes the wallets of a user, and holds the journal's head from then on. Returns those that were not closed before. Fails: USER_HAS_FUNDS. */
export async function closeWallets(client: Queryable, userId: Uuid, now: Date): Promise<Uuid[]> {
  const { rows: wallets } = await client.query<{ id: Uuid }>(
    "SELECT id FROM wallets WHERE user_id = $1 ORDER BY id FOR UPDATE",
    [userId],
  );
  await lockHead(client);
  const { rows } = await client.query<{ id: Uuid; state: AccountState; has_funds: boolean }>(
    `SELECT id, state, balance <> 0 OR pending_debits <> 0 OR pending_credits <> 0 AS has_funds FROM account_states
     WHERE id = ANY ($1) ORDER BY id`,
    [wallets.map(({ id }) => id)],
  );
  const funded = rows.find((row) => row.has_funds);
  if (funded !== undefined) fail({ reason: "USER_HAS_FUNDS", userId, walletId: funded.id });
  const open = rows.filter((row) => row.state !== ACCOUNT_STATE.CLOSED).map((row) => row.id);
  await client.query("UPDATE accounts SET state = $2 WHERE id = ANY($1)", [open, ACCOUNT_STATE.CLOSED]);
  await client.query(
    // The reason for a freeze does not explain the closing, and may contain personal data.
    "UPDATE wallets SET state_reason = '', revision = revision + 1, update_time = $2 WHERE id = ANY($1)",
    [open, now],
  );
  return open;
}
