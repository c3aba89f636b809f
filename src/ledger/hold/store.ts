import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { uuidArray } from "../../db/binary-array.js";
import { CLOCK } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import type { HoldState } from "../../base/codes.js";
import type { Hold, ReadHold } from "../decide/hold.js";

const COLUMNS = `
SELECT id, account_id, to_account_id, currency_code, amount, captured, state, revision,
  (extract(epoch FROM expire_time) * 1000000)::bigint AS expire_time,
  (extract(epoch FROM create_time) * 1000000)::bigint AS create_time,
  (extract(epoch FROM update_time) * 1000000)::bigint AS update_time
FROM holds`;

interface HoldRow {
  readonly id: Uuid;
  readonly account_id: Uuid;
  readonly to_account_id: Uuid | null;
  readonly currency_code: string;
  readonly amount: bigint;
  readonly captured: bigint;
  readonly state: HoldState;
  readonly revision: bigint;
  readonly expire_time: Micros;
  readonly create_time: Micros;
  readonly update_time: Micros;
}

/** Reads the holds that exist, without a lock. */
export async function readHolds(client: Queryable, ids: Iterable<Uuid>): Promise<ReadHold[]> {
  const { rows } = await client.query<HoldRow>({
    name: "holds-read",
    text: `${COLUMNS} WHERE id = ANY($1::uuid[])`,
    values: [uuidArray([...ids])],
  });
  return rows.map((row) => ({ hold: fromRow(row), revision: row.revision }));
}

/**
 * Lists the holds on a wallet's money, newest first.
 * @param below selects ids below this one; undefined for the first page
 */
export async function listHolds(
  client: Queryable,
  accountId: Uuid,
  { activeOnly, below, limit }: { activeOnly: boolean; below: Uuid | undefined; limit: number },
): Promise<Hold[]> {
  const { rows } = await client.query<HoldRow>({
    name: activeOnly ? "holds-list-active" : "holds-list",
    text: `${COLUMNS} WHERE account_id = $1 AND id < $2 ${activeOnly ? "AND state = 1" : ""} ORDER BY id DESC LIMIT $3`,
    values: [accountId, below ?? "ffffffff-ffff-ffff-ffff-ffffffffffff", limit],
  });
  return rows.map(fromRow);
}

/** Finds the active holds that are due to expire, in the order of their expiry times. */
export async function findDueHolds(client: Queryable, limit: number): Promise<Uuid[]> {
  const { rows } = await client.query<{ id: Uuid }>({
    name: "holds-due",
    text: `SELECT id FROM holds WHERE state = 1 AND expire_time <= ${CLOCK}
      ORDER BY expire_time, id LIMIT $1`,
    values: [limit],
  });
  return rows.map((row) => row.id);
}

function fromRow(row: HoldRow): Hold {
  return {
    id: row.id,
    accountId: row.account_id,
    toAccountId: row.to_account_id,
    currencyCode: row.currency_code,
    amountMinor: row.amount,
    capturedMinor: row.captured,
    state: row.state,
    expireTime: row.expire_time,
    expiresInMicros: null,
    createTime: row.create_time,
    updateTime: row.update_time,
  };
}
