import { execFile, spawn } from "node:child_process";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { once } from "node:events";
import { promisify } from "node:util";
import { runChild } from "./children.js";
import type { Cleanup } from "./cleanup.js";
import { run, withClient } from "./databases.js";
import { LatencyHistogram, type LatencySummary } from "./latency.js";
import { OPENING_MINOR } from "./populate.js";

// The first baseline: one PL/pgSQL function per transfer, as a careful engineer would write without Grey. It guarantees what Grey
// does except the journal: idempotency, funds, double entry with dense sequences and running balances. Any choice is made in its
// favour: small ascending integer keys, no foreign keys, room for HOT updates.

const SCHEMA = `
CREATE TABLE accounts (
  id bigint PRIMARY KEY,
  currency_code text NOT NULL,
  balance bigint NOT NULL CHECK (balance >= 0),
  sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE idempotency_keys (request_id uuid PRIMARY KEY, transaction_id bigint NOT NULL);
CREATE TABLE transactions (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  request_id uuid NOT NULL,
  from_account bigint NOT NULL,
  to_account bigint NOT NULL,
  currency_code text NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  description text NOT NULL,
  create_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE entries (
  account_id bigint NOT NULL,
  sequence bigint NOT NULL,
  transaction_id bigint NOT NULL,
  amount bigint NOT NULL CHECK (amount <> 0),
  balance_after bigint NOT NULL,
  PRIMARY KEY (account_id, sequence)
);

CREATE FUNCTION transfer(
  p_request uuid, p_from bigint, p_to bigint, p_currency text, p_amount bigint, p_description text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_transaction bigint := nextval(pg_get_serial_sequence('transactions', 'id'));
  v_stored transactions;
  v_account accounts;
  v_from accounts;
  v_to accounts;
BEGIN
  INSERT INTO idempotency_keys VALUES (p_request, v_transaction) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    SELECT t.* INTO STRICT v_stored
    FROM idempotency_keys k JOIN transactions t ON t.id = k.transaction_id WHERE k.request_id = p_request;
    IF (v_stored.from_account, v_stored.to_account, v_stored.currency_code, v_stored.amount, v_stored.description)
      IS DISTINCT FROM (p_from, p_to, p_currency, p_amount, p_description) THEN
      RAISE EXCEPTION 'the request id was used by another request';
    END IF;
    RETURN v_stored.id;
  END IF;
  IF p_from = p_to THEN RAISE EXCEPTION 'the same account on both sides'; END IF;
  FOR v_account IN SELECT * FROM accounts WHERE id IN (p_from, p_to) ORDER BY id FOR UPDATE LOOP
    IF v_account.id = p_from THEN v_from := v_account; ELSE v_to := v_account; END IF;
  END LOOP;
  IF v_from.id IS NULL OR v_to.id IS NULL THEN RAISE EXCEPTION 'no such account'; END IF;
  IF v_from.currency_code <> p_currency OR v_to.currency_code <> p_currency THEN RAISE EXCEPTION 'another currency'; END IF;
  IF v_from.balance < p_amount THEN RAISE EXCEPTION 'insufficient funds'; END IF;
  INSERT INTO transactions (id, request_id, from_account, to_account, currency_code, amount, description)
  OVERRIDING SYSTEM VALUE VALUES (v_transaction, p_request, p_from, p_to, p_currency, p_amount, p_description);
  INSERT INTO entries (account_id, sequence, transaction_id, amount, balance_after) VALUES
    (p_from, v_from.sequence + 1, v_transaction, p_amount, v_from.balance - p_amount),
    (p_to, v_to.sequence + 1, v_transaction, -p_amount, v_to.balance + p_amount);
  UPDATE accounts SET balance = v_from.balance - p_amount, sequence = v_from.sequence + 1 WHERE id = p_from;
  UPDATE accounts SET balance = v_to.balance + p_amount, sequence = v_to.sequence + 1 WHERE id = p_to;
  RETURN v_transaction;
END $$;

CREATE TABLE commits (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, payload text NOT NULL);
`;

export const FUNCTION_CLIENTS = 16;

/** Creates the baseline's schema and accounts 1 to `wallets`. */
export async function createFunctionBaseline(url: string, wallets: number): Promise<void> {
  await withClient(url, async (client) => {
    await client.query(SCHEMA);
    await client.query(
      "INSERT INTO accounts (id, currency_code, balance) SELECT n, 'USD', $1 FROM generate_series(1, $2::int) AS n",
      [OPENING_MINOR, wallets],
    );
    await client.query("VACUUM (ANALYZE) accounts");
  });
}

/** Finds faults in the baseline's ledger; empty if there are none. */
export async function functionBaselineFaults(url: string, wallets: number): Promise<string[]> {
  const [row] = await run<{
    total: string;
    entries: string;
    transactions: string;
    sequences: string;
    unbalanced: string;
  }>(
    url,
    `SELECT (SELECT sum(balance) FROM accounts) AS total, (SELECT count(*) FROM entries) AS entries,
       (SELECT count(*) FROM transactions) AS transactions, (SELECT sum(sequence) FROM accounts) AS sequences,
       (SELECT coalesce(sum(amount), 0) FROM entries) AS unbalanced`,
  );
  if (row === undefined) return ["nothing was read"];
  return [
    ...(BigInt(row.total) === BigInt(wallets) * BigInt(OPENING_MINOR) ? [] : [`balances sum to ${row.total}`]),
    ...(row.unbalanced === "0" ? [] : [`entries sum to ${row.unbalanced}`]),
    ...(BigInt(row.entries) === 2n * BigInt(row.transactions) && row.entries === row.sequences
      ? []
      : [`${row.transactions} transactions, ${row.entries} entries, sequences sum to ${row.sequences}`]),
  ];
}

/** The plan of a run of the function. */
export interface FunctionPlan {
  readonly url: string;
  readonly wallets: number;
  readonly isHot: boolean;
  readonly clients: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** Unique among the runs on a database. */
  readonly run: number;
}

export interface FunctionResult {
  readonly perSecond: number;
  readonly latencyUs: LatencySummary;
  readonly ok: number;
}

export const TRANSFER_CALL = "SELECT transfer($1::uuid, $2::bigint, $3::bigint, 'USD', $4::bigint, '')";

const SAID_CHARS_MAX = 1_000;

/** Returns the version of pgbench, if it is installed. */
export async function findPgbench(): Promise<string | undefined> {
  const found = await promisify(execFile)("pgbench", ["--version"]).catch(() => undefined);
  return found?.stdout.trim();
}

/** Calls the function from Node, if pgbench is not installed. */
export function runFunctionFromNode(cleanup: Cleanup, plan: FunctionPlan): Promise<FunctionResult> {
  return runChild(cleanup, "function-client.js", plan);
}

// Keys ascend within each client, like UUIDv7: the cheapest order for an index.
function pgbenchScript({ wallets, isHot, run: number }: FunctionPlan): string {
  return `
\\set key :key + 1
\\set first ${isHot ? "1" : `random(1, ${wallets})`}
\\set second 1 + (:first - 1 + random(1, ${wallets - 1})) % ${wallets}
\\set forth random(0, 1)
\\set payer case when :forth = 1 then :first else :second end
\\set payee case when :forth = 1 then :second else :first end
\\set amount random(1, 100)
SELECT transfer(('${number.toString(16).padStart(8, "0")}' || lpad(to_hex(:client_id::int), 4, '0') || '7000' || '8' || lpad(to_hex(:key::bigint), 15, '0'))::uuid, :payer, :payee, 'USD', :amount, '');
`;
}

/** Calls the function with pgbench, and reads rate and latencies in the window from its transaction log. */
export async function runFunctionWithPgbench(
  cleanup: Cleanup,
  folder: string,
  plan: FunctionPlan,
): Promise<FunctionResult> {
  const name = `pgbench-${plan.run}`;
  const script = join(folder, `${name}.sql`);
  await writeFile(script, pgbenchScript(plan));
  const { hostname, port, username, password, pathname } = new URL(plan.url);
  const seconds = Math.ceil((plan.warmupMs + plan.measureMs) / 1_000);
  const child = spawn(
    "pgbench",
    [
      "--no-vacuum",
      "--protocol=prepared",
      `--client=${plan.clients}`,
      "--jobs=2",
      `--time=${seconds}`,
      "--define=key=0",
      "--log",
      `--log-prefix=${join(folder, name)}`,
      `--file=${script}`,
      `--host=${hostname}`,
      `--port=${port === "" ? "5432" : port}`,
      `--username=${decodeURIComponent(username)}`,
      pathname.slice(1),
    ],
    { env: { ...process.env, PGPASSWORD: decodeURIComponent(password) }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, "close") as Promise<[number | null]>;
  const drop = cleanup.add(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const [code] = await ended;
  drop();
  if (code !== 0) throw new Error(`pgbench ended with ${code}: ${said.trim().slice(0, SAID_CHARS_MAX)}`);
  const logs = (await readdir(folder)).filter((file) => file.startsWith(`${name}.`) && file !== `${name}.sql`);
  const texts = await Promise.all(logs.map((file) => readFile(join(folder, file), "latin1")));
  await Promise.all([...logs, `${name}.sql`].map((file) => rm(join(folder, file))));
  return summarise(texts, plan);
}

// Each line: client, transaction number, duration in microseconds, script, end time in seconds and microseconds.
function summarise(logs: readonly string[], { warmupMs, measureMs }: FunctionPlan): FunctionResult {
  const calls: (readonly [endUs: number, durationUs: number])[] = [];
  for (const line of logs.flatMap((text) => text.split("\n"))) {
    const [, , durationUs, , seconds, micros] = line.split(" ");
    if (micros !== undefined) calls.push([Number(seconds) * 1e6 + Number(micros), Number(durationUs)]);
  }
  const startUs = calls.reduce((least, [endUs, durationUs]) => Math.min(least, endUs - durationUs), Infinity);
  const fromUs = startUs + warmupMs * 1_000;
  const untilUs = fromUs + measureMs * 1_000;
  const latency = new LatencyHistogram();
  for (const [endUs, durationUs] of calls) if (endUs >= fromUs && endUs < untilUs) latency.record(durationUs);
  const latencyUs = latency.summary();
  return { perSecond: latencyUs.count / (measureMs / 1_000), latencyUs, ok: calls.length };
}

/** Measures small commits, one after the other on one connection. */
export async function measureCommits(url: string, warmupMs: number, measureMs: number): Promise<FunctionResult> {
  return withClient(url, async (client) => {
    const latency = new LatencyHistogram();
    const startedMs = performance.now();
    const fromMs = startedMs + warmupMs;
    const untilMs = fromMs + measureMs;
    for (let nowMs = startedMs; nowMs < untilMs;) {
      await client.query({
        name: "commit",
        text: "INSERT INTO commits (payload) VALUES ($1)",
        values: ["x".repeat(100)],
      });
      const doneMs = performance.now();
      if (nowMs >= fromMs) latency.record((doneMs - nowMs) * 1_000);
      nowMs = doneMs;
    }
    const latencyUs = latency.summary();
    return { perSecond: latencyUs.count / (measureMs / 1_000), latencyUs, ok: 0 };
  });
}
