import type pg from "pg";
import { systemAccountId } from "../../src/base/ids.js";
import { RECORD_TYPE } from "../../src/entities/journal.js";
import { REQUEST_METHOD } from "../../src/entities/request.js";
import { TRANSACTION_KIND, TRANSACTION_STATE } from "../../src/base/codes.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";
import { benchIdSql, EPOCH_MS, ID_SPACE } from "./bench-ids.js";
import { withClient } from "./databases.js";
import { CURRENCY } from "./frames.js";

/** The books that populate() makes. All transfers are between wallets of one currency. */
export interface Population {
  /** An even number. Each wallet gets an opening balance. */
  readonly wallets: number;
  /** In each round every wallet is in one transfer: the first half of the wallets pays in even rounds, the second in odd ones. */
  readonly rounds: number;
  /** Transfers between two more wallets, numbers `wallets` and `wallets + 1`, spread over the whole history. */
  readonly deepTransfers: number;
}

/** What every wallet starts with, in minor units: more than any run spends. */
export const OPENING_MINOR = 1_000_000_000;

export function transactionCount({ wallets, rounds, deepTransfers }: Population): number {
  return wallets + 2 + (wallets / 2) * rounds + deepTransfers;
}

/** Above this many transactions indexes are built after the rows, not with them. */
const KEYS_LATER_FROM = 200_000;
const WALLETS_PER_USER = 4;
/** Partners change from round to round by this many places. */
const PARTNER_STEP = 7_919;
const JOURNAL_BATCH = 1_000;

/**
 * Fills a migrated, empty database with set-based SQL, as superuser, so that the books obey every law of
 * src/ledger/check/laws/.
 */
export async function populate(
  url: string,
  population: Population,
  onProgress: (done: string) => void = () => undefined,
): Promise<void> {
  if (population.wallets % 2 !== 0) throw new Error("the number of wallets must be even");
  const shape = shapeOf(population);
  const isLarge = transactionCount(population) > KEYS_LATER_FROM;
  const keys = isLarge ? await dropKeys(url) : [];
  if (isLarge) await setAutovacuum(url, false);
  // Two lanes: one for each processor of a small machine.
  await Promise.all([
    lane(
      url,
      [
        ["transactions", insertTransactions(shape)],
        ["requests", insertRequests(shape)],
        ["journal", insertJournal(shape)],
        ["journal head", updateHead(shape)],
      ],
      onProgress,
    ),
    lane(
      url,
      [
        ["users, wallets", insertOwners(shape)],
        ["accounts", insertAccounts(shape)],
        ["entries", insertEntries(shape)],
      ],
      onProgress,
    ),
  ]);
  await Promise.all([
    lane(url, keys.filter((key) => key.table === "entries").map(addKey), onProgress),
    lane(url, keys.filter((key) => key.table !== "entries").map(addKey), onProgress),
  ]);
  await Promise.all([
    lane(url, [["vacuum of entries", "VACUUM (ANALYZE) entries"]], onProgress),
    lane(url, [["vacuum", `VACUUM (ANALYZE) ${OTHER_TABLES.join(", ")}`]], onProgress),
  ]);
  if (isLarge) await setAutovacuum(url, true);
}

type Step = readonly [what: string, statement: string];

async function lane(url: string, steps: readonly Step[], onProgress: (done: string) => void): Promise<void> {
  await withClient(url, async (client) => {
    // Lost with the machine, not with the server; the run that needs it would be lost too.
    await client.query("SET synchronous_commit = off");
    await client.query("SET maintenance_work_mem = '512MB'");
    for (const [what, statement] of steps) {
      await client.query(statement);
      onProgress(what);
    }
  });
}

interface Key {
  readonly table: string;
  readonly name: string;
  readonly definition: string;
}

const LARGE_TABLES = ["entries", "accounts", "transactions", "requests"];
const OTHER_TABLES = ["accounts", "transactions", "requests", "users", "wallets", "journal_batches", "journal_head"];

/** Vacuuming rows while they are written only makes it take longer. */
async function setAutovacuum(url: string, isOn: boolean): Promise<void> {
  const change = isOn ? "RESET (autovacuum_enabled)" : "SET (autovacuum_enabled = off)";
  await withClient(url, async (client) => {
    for (const table of LARGE_TABLES) await client.query(`ALTER TABLE ${table} ${change}`);
  });
}

async function dropKeys(url: string): Promise<Key[]> {
  return withClient(url, async (client: pg.Client) => {
    const { rows } = await client.query<Key>(
      `SELECT conrelid::regclass::text AS "table", conname AS name, pg_get_constraintdef(oid) AS definition
       FROM pg_constraint WHERE contype = 'p' AND conrelid = ANY ($1::regclass[])`,
      [LARGE_TABLES],
    );
    for (const { table, name } of rows) await client.query(`ALTER TABLE ${table} DROP CONSTRAINT ${name}`);
    return rows;
  });
}

function addKey({ table, name, definition }: Key): Step {
  return [name, `ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition}`];
}

// Transaction n, from 0: first the openings of all wallets in order, then the history. Every deepEvery-th transaction of
// the history is a deep one until there are no more; the others are counted by `o`, half of the wallets to a round.
interface Shape extends Population {
  readonly walletsInAll: number;
  readonly transactions: number;
  readonly half: number;
  readonly deepEvery: number;
}

function shapeOf(population: Population): Shape {
  const { wallets, rounds, deepTransfers } = population;
  const history = (wallets / 2) * rounds + deepTransfers;
  return {
    ...population,
    walletsInAll: wallets + 2,
    transactions: transactionCount(population),
    half: wallets / 2,
    deepEvery: deepTransfers === 0 ? history + 1 : Math.floor(history / deepTransfers),
  };
}

const time = (n: string): string => `to_timestamp((${EPOCH_MS} + (${n}))::double precision / 1000)`;
const opening = systemAccountId(CURRENCY, "opening");

/** A round's amount; rounds 2k and 2k + 1 have the same, so that each wallet is back at its opening after both. */
const roundAmount = (round: string): string => `(1 + (${round}) / 2)`;

/**
 * The history as rows of numbers: n, the paying and the paid wallet, the amount, and for each side the number of its
 * entry and its balance after it. Its order is the journal's. Each OFFSET 0 keeps the planner from writing an expression out
 * wherever it is used, which would compute it many times.
 */
function history({ walletsInAll, wallets, half, deepTransfers, deepEvery, transactions }: Shape): string {
  return `
  SELECT n, amount,
    CASE WHEN forth THEN first ELSE second END AS payer,
    CASE WHEN forth THEN second ELSE first END AS payee,
    sequence,
    ${OPENING_MINOR} - CASE WHEN forth THEN amount ELSE 0 END AS payer_balance,
    ${OPENING_MINOR} + CASE WHEN forth THEN amount ELSE 0 END AS payee_balance
  FROM (
    SELECT n,
      CASE WHEN is_deep THEN ${wallets} ELSE o % ${half} END AS first,
      CASE WHEN is_deep THEN ${wallets + 1} ELSE ${half} + (o % ${half} + (o / ${half}) * ${PARTNER_STEP}) % ${half} END AS second,
      CASE WHEN is_deep THEN q % 2 = 0 ELSE (o / ${half}) % 2 = 0 END AS forth,
      CASE WHEN is_deep THEN 1 ELSE ${roundAmount(`o / ${half}`)} END AS amount,
      CASE WHEN is_deep THEN q ELSE o / ${half} END + 2 AS sequence
    FROM (
      SELECT m + ${walletsInAll} AS n, m / ${deepEvery} AS q,
        m % ${deepEvery} = 0 AND m / ${deepEvery} < ${deepTransfers} AS is_deep,
        m - least(${deepTransfers}, m / ${deepEvery} + 1) AS o
      FROM generate_series(0::bigint, ${transactions - walletsInAll - 1}) AS m
      OFFSET 0
    ) numbered
    OFFSET 0
  ) moved
  OFFSET 0`;
}

function insertOwners({ walletsInAll }: Shape): string {
  const users = Math.ceil(walletsInAll / WALLETS_PER_USER);
  return `
  INSERT INTO users (id, name, email, email_key, metadata, revision, create_time, update_time)
  SELECT ${benchIdSql(ID_SPACE.USER, "n")}, 'Bench ' || n, n || '@bench.example', n || '@bench.example', '{}', 1, ${time("n")}, ${time("n")}
  FROM generate_series(0::bigint, ${users - 1}) AS n;
  INSERT INTO wallets (id, user_id, label, metadata, state_reason, revision, create_time, update_time)
  SELECT ${benchIdSql(ID_SPACE.WALLET, "n")}, ${benchIdSql(ID_SPACE.USER, `n / ${WALLETS_PER_USER}`)}, '', '{}', '', 1, ${time("n")}, ${time("n")}
  FROM generate_series(0::bigint, ${walletsInAll - 1}) AS n`;
}

function insertAccounts({ walletsInAll }: Shape): string {
  return `
  INSERT INTO accounts (id, system_account, currency_code, normal_side, min_balance)
  SELECT ${benchIdSql(ID_SPACE.WALLET, "n")}, NULL, '${CURRENCY}', 2, 0
  FROM generate_series(0::bigint, ${walletsInAll - 1}) AS n`;
}

function insertTransactions(shape: Shape): string {
  const columns = `id, journal_index, kind, state, caller, request_id, debit_account_id, credit_account_id,
    debit_sequence, credit_sequence, currency_code, amount, description, create_time`;
  const ids = `${benchIdSql(ID_SPACE.TRANSACTION, "n")}, n`;
  const request = `${TRANSACTION_STATE.POSTED}, '${LOCAL_CALLER}', ${benchIdSql(ID_SPACE.REQUEST, "n")}`;
  return `
  INSERT INTO transactions (${columns})
  SELECT ${ids}, ${TRANSACTION_KIND.OPENING}, ${request}, '${opening}', ${benchIdSql(ID_SPACE.WALLET, "n")},
    n + 1, 1, '${CURRENCY}', ${OPENING_MINOR}, '', ${time("n")}
  FROM generate_series(0::bigint, ${shape.walletsInAll - 1}) AS n;
  INSERT INTO transactions (${columns})
  SELECT ${ids}, ${TRANSACTION_KIND.TRANSFER}, ${request}, ${benchIdSql(ID_SPACE.WALLET, "payer")}, ${benchIdSql(ID_SPACE.WALLET, "payee")},
    sequence, sequence, '${CURRENCY}', amount, '', ${time("n")}
  FROM (${history(shape)}) h`;
}

function insertEntries(shape: Shape): string {
  const columns = "account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time";
  const rest = `${benchIdSql(ID_SPACE.TRANSACTION, "n")}, n, side.amount, side.balance, ${time("n")}`;
  return `
  INSERT INTO entries (${columns})
  SELECT side.account, side.sequence, ${rest}
  FROM generate_series(0::bigint, ${shape.walletsInAll - 1}) AS n CROSS JOIN LATERAL (VALUES
    ('${opening}'::uuid, n + 1, ${OPENING_MINOR}, (n + 1) * ${OPENING_MINOR}),
    (${benchIdSql(ID_SPACE.WALLET, "n")}, 1, -${OPENING_MINOR}, ${OPENING_MINOR})
  ) AS side (account, sequence, amount, balance);
  INSERT INTO entries (${columns})
  SELECT ${benchIdSql(ID_SPACE.WALLET, "side.wallet")}, sequence, ${rest}
  FROM (${history(shape)}) h CROSS JOIN LATERAL (VALUES
    (payer, h.amount, payer_balance), (payee, -h.amount, payee_balance)
  ) AS side (wallet, amount, balance)`;
}

function insertRequests({ walletsInAll, transactions }: Shape): string {
  return `
  INSERT INTO requests (caller, request_id, method, transaction_id, resource_id)
  SELECT '${LOCAL_CALLER}', ${benchIdSql(ID_SPACE.REQUEST, "n")},
    CASE WHEN n < ${walletsInAll} THEN ${REQUEST_METHOD.CREATE_WALLET} ELSE ${REQUEST_METHOD.POST} END,
    ${benchIdSql(ID_SPACE.TRANSACTION, "n")}, CASE WHEN n < ${walletsInAll} THEN ${benchIdSql(ID_SPACE.WALLET, "n")} END
  FROM generate_series(0::bigint, ${transactions - 1}) AS n`;
}

function insertJournal({ transactions }: Shape): string {
  return `
  INSERT INTO journal_batches (first_index, record_ids, record_types, create_time)
  SELECT first, ids, array_fill(${RECORD_TYPE.TRANSACTION_POSTED}::smallint, ARRAY[cardinality(ids)]), ${time("first + cardinality(ids) - 1")}
  FROM generate_series(0::bigint, ${transactions - 1}, ${JOURNAL_BATCH}) AS first CROSS JOIN LATERAL (
    SELECT ARRAY(
      SELECT ${benchIdSql(ID_SPACE.TRANSACTION, "n")} FROM generate_series(first, least(first + ${JOURNAL_BATCH}, ${transactions}) - 1) AS n
    ) AS ids
  ) batch`;
}

function updateHead({ transactions }: Shape): string {
  // There is no alert: a reader that caught up would only take processor time from what is measured.
  return `UPDATE journal_head SET size = ${transactions}; UPDATE reader_cursors SET next_index = ${transactions}`;
}
