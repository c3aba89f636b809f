import { benchIdSql, ID_SPACE } from "./bench-ids.js";
import { run, withClient } from "./databases.js";
import { CURRENCY } from "./frames.js";
import { OPENING_MINOR } from "./populate.js";

// The ledger of the TypeORM baseline (baseline-typeorm.ts); its wallets have the same ids as Grey's, so that the same load applies.

const SCHEMA = `
CREATE TABLE wallets (
  id uuid PRIMARY KEY,
  currency_code text NOT NULL,
  balance bigint NOT NULL CHECK (balance >= 0),
  sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE transactions (
  id uuid PRIMARY KEY,
  request_id uuid NOT NULL UNIQUE,
  from_wallet_id uuid NOT NULL,
  to_wallet_id uuid NOT NULL,
  currency_code text NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  description text NOT NULL,
  create_time timestamptz NOT NULL
);
CREATE TABLE entries (
  id uuid PRIMARY KEY,
  transaction_id uuid NOT NULL,
  wallet_id uuid NOT NULL,
  sequence bigint NOT NULL,
  amount bigint NOT NULL CHECK (amount <> 0),
  balance_after bigint NOT NULL
);
CREATE INDEX entries_transaction ON entries (transaction_id);
CREATE UNIQUE INDEX entries_wallet ON entries (wallet_id, sequence);
`;

/** Creates the schema and the wallets. */
export async function createTypeormBaseline(url: string, wallets: number): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(SCHEMA);
    await client.query(
      `INSERT INTO wallets (id, currency_code, balance)
       SELECT ${benchIdSql(ID_SPACE.WALLET, "n")}, '${CURRENCY}', ${OPENING_MINOR} FROM generate_series(0::bigint, ${wallets - 1}) AS n`,
    );
    await client.query("VACUUM (ANALYZE) wallets");
  });
}

/** Finds faults in the ledger; empty if there are none. */
export async function typeormBaselineFaults(url: string, wallets: number): Promise<string[]> {
  const [row] = await run<{ total: string; entries: string; transactions: string; unbalanced: string }>(
    url,
    `SELECT (SELECT sum(balance) FROM wallets) AS total, (SELECT count(*) FROM entries) AS entries,
       (SELECT count(*) FROM transactions) AS transactions, (SELECT coalesce(sum(amount), 0) FROM entries) AS unbalanced`,
  );
  if (row === undefined) return ["nothing was read"];
  return [
    ...(BigInt(row.total) === BigInt(wallets) * BigInt(OPENING_MINOR) ? [] : [`balances sum to ${row.total}`]),
    ...(row.unbalanced === "0" ? [] : [`entries sum to ${row.unbalanced}`]),
    ...(BigInt(row.entries) === 2n * BigInt(row.transactions)
      ? []
      : [`${row.transactions} transactions, ${row.entries} entries`]),
  ];
}
