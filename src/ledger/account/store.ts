import type { AccountState, NormalSide } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Queryable } from "../../db/database.js";
import type { Account } from "./account.js";
import { decodeVelocity } from "./limits.js";
import type { Slice, VelocityLimit } from "./velocity.js";

const COLUMNS = `
SELECT id, system_account IS NULL AS is_wallet, currency_code, normal_side, state, balance, pending_debits,
  pending_credits, min_balance, max_balance, velocity_limits, sequence
FROM account_states WHERE id = ANY($1::uuid[])`;

interface StoredAccount {
  readonly id: Uuid;
  readonly is_wallet: boolean;
  readonly currency_code: string;
  readonly normal_side: NormalSide;
  readonly state: AccountState;
  readonly balance: bigint;
  readonly pending_debits: bigint;
  readonly pending_credits: bigint;
  readonly min_balance: bigint | null;
  readonly max_balance: bigint | null;
  readonly velocity_limits: string | null;
  readonly sequence: bigint;
}

/** Reads the accounts that exist, as they are; while postings go on, one may be later than another. */
export async function readAccounts(client: Queryable, ids: Iterable<Uuid>): Promise<Account[]> {
  const { rows } = await client.query<StoredAccount>({
    name: "accounts-read",
    text: COLUMNS,
    values: [uuidArray([...ids])],
  });
  const limited = rows.filter((row) => row.velocity_limits !== null);
  const usage = limited.length === 0 ? NO_USAGE : await readUsage(client, limited);
  return rows.map((row) => toAccount(row, usage));
}

/** Lists ids of accounts after this one, in their order. */
export async function listAccountIds(client: Queryable, after: Uuid, limit: number): Promise<Uuid[]> {
  const { rows } = await client.query<{ id: Uuid }>({
    name: "accounts-ids",
    text: "SELECT id FROM accounts WHERE id > $1 ORDER BY id LIMIT $2",
    values: [after, limit],
  });
  return rows.map(({ id }) => id);
}

/** Usage by account id and limit name. */
type Usage = ReadonlyMap<string, readonly Slice[]>;

const NO_USAGE: Usage = new Map();

async function readUsage(client: Queryable, accounts: readonly { readonly id: Uuid }[]): Promise<Usage> {
  const { rows } = await client.query<{ account_id: Uuid; name: string; slice: bigint; amount: bigint; count: bigint }>(
    {
      name: "accounts-usage",
      text: `SELECT account_id, name, slice, amount, count FROM velocity_usage WHERE account_id = ANY($1::uuid[])
      ORDER BY account_id, name, slice`,
      values: [uuidArray(accounts.map(({ id }) => id))],
    },
  );
  const usage = new Map<string, Slice[]>();
  for (const { account_id: id, name, slice, amount, count } of rows) {
    const key = `${id}/${name}`;
    const slices = usage.get(key) ?? [];
    if (slices.length === 0) usage.set(key, slices);
    slices.push({ slice, amountMinor: amount, count });
  }
  return usage;
}

/** Returns the velocity limits of an account with their usage. */
function toVelocityLimits(
  { id, velocity_limits: limits }: StoredAccount,
  usage: Usage,
): readonly VelocityLimit[] | null {
  if (limits === null) return null;
  return decodeVelocity(limits).map((terms) => ({ ...terms, slices: usage.get(`${id}/${terms.name}`) ?? [] }));
}

function toAccount(row: StoredAccount, usage: Usage): Account {
  return {
    id: row.id,
    isWallet: row.is_wallet,
    currencyCode: row.currency_code,
    normalSide: row.normal_side,
    state: row.state,
    balanceMinor: row.balance,
    pendingDebitsMinor: row.pending_debits,
    pendingCreditsMinor: row.pending_credits,
    minBalanceMinor: row.min_balance,
    maxBalanceMinor: row.max_balance,
    velocity: toVelocityLimits(row, usage),
    sequence: row.sequence,
  };
}
