import pg from "pg";
import type { Config } from "../config/config.js";
import { SQLSTATE, sqlState } from "./sqlstate.js";

// Statements set a session up, since poolers refuse start-up packets with options, and its settings are read back: a session
// with other rights, without time limits, or with another date format must not serve.

/** The role and the settings of a session. */
export interface SessionPlan {
  /** The role that it assumes; undefined: the login's own rights. */
  readonly role: string | undefined;
  /** Settings in addition to those of every session, as `pg_settings` shows them. */
  readonly settings: Readonly<Record<string, string>>;
  /** The time limit of each set-up statement, in ms. */
  readonly timeoutMs: number;
}

/**
 * A session that does not meet its plan. The code is the SQLSTATE that PostgreSQL would send: that of a read-only database,
 * which may be a standby that becomes the primary, or that of a refusal, which only an operator can mend.
 */
export class SessionError extends Error {
  override readonly name = "SessionError";
  constructor(
    readonly code: typeof SQLSTATE.READ_ONLY | typeof SQLSTATE.CONNECTION_REJECTED,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The planner settings of a session that serves: rows are found by keys, also while PostgreSQL's statistics date from a time when
 * the tables were nearly empty. A plan made then would be kept until the tables are analysed.
 */
const BY_KEYS = { enable_seqscan: "off", enable_hashjoin: "off", enable_mergejoin: "off" };

/** Allows plans that read whole tables, for the rest of the transaction. */
export const READ_WHOLE_TABLES =
  "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";

/** Returns the plan of a session that serves. */
export function servicePlan(config: Config): SessionPlan {
  const timeoutMs = `${config.GREY_DATABASE_STATEMENT_TIMEOUT_MS}`;
  return {
    role: config.GREY_DATABASE_ROLE,
    settings: {
      ...BY_KEYS,
      statement_timeout: timeoutMs,
      lock_timeout: timeoutMs,
      idle_in_transaction_session_timeout: timeoutMs,
      // PostgreSQL drops a Grey that the network has cut off, and frees the locks of its transactions.
      tcp_user_timeout: timeoutMs,
      tcp_keepalives_idle: "10",
      tcp_keepalives_interval: "5",
      tcp_keepalives_count: "3",
    },
    timeoutMs: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
  };
}

/** Returns the plan of a session that migrates, with the rights of its login. */
export function ownerPlan(timeoutMs: number): SessionPlan {
  return {
    role: undefined,
    settings: {
      statement_timeout: "0",
      // A migration that waits for a table must not make postings queue behind it.
      lock_timeout: "5000",
      idle_in_transaction_session_timeout: "0",
    },
    timeoutMs,
  };
}

/** The settings of every session, whatever the server, the database and the login set. A version skips those it does not have. */
const SETTINGS: Readonly<Record<string, string>> = {
  // Formats of values.
  client_encoding: "UTF8",
  DateStyle: "ISO, MDY",
  TimeZone: "UTC",
  IntervalStyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
  standard_conforming_strings: "on",
  array_nulls: "on",
  transform_null_equals: "off",
  quote_all_identifiers: "off",
  // Visible tables and rows, and triggers.
  search_path: "public, pg_temp",
  row_security: "on",
  session_replication_role: "origin",
  gin_fuzzy_search_limit: "0",
  default_table_access_method: "heap",
  temp_tablespaces: "",
  check_function_bodies: "on",
  // Transactions and the durability of commits.
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
  synchronous_commit: "on",
  // Ends of sessions.
  exit_on_error: "off",
  idle_session_timeout: "0",
  transaction_timeout: "0",
  // A commit that a failover may lose sends a warning.
  client_min_messages: "warning",
  // Compiling a statement of the ledger takes longer than running it.
  jit: "off",
  // The ledger's statements are named and take arrays: planning them anew for each call gains nothing.
  plan_cache_mode: "force_generic_plan",
};

// Selects the settings that differ from the plan. Planner settings outside the plan are reset to PostgreSQL's built-in values, with
// which the query plans are tested. synchronous_commit = remote_apply is accepted: it promises more than `on`.
const DIFFERING = `
SELECT s.name, s.setting, w.value FROM unnest($1::text[], $2::text[]) AS w (name, value) JOIN pg_settings s ON s.name = w.name
WHERE s.setting <> w.value AND NOT (s.name = 'synchronous_commit' AND s.setting = 'remote_apply')
UNION ALL
SELECT name, setting, boot_val FROM pg_settings
WHERE category LIKE 'Query Tuning%' AND context = 'user' AND setting <> boot_val AND NOT name = ANY ($1::text[])`;

/** The refusal of a pooler that hands a session's statements to different backends. */
const SHARES_BACKENDS =
  "a connection pooler in front of PostgreSQL shares backends between its clients; Grey needs session pooling (PgBouncer: pool_mode = session)";

/**
 * Sets the session up according to the plan, and verifies it.
 * @throws SessionError, or the error of the database or the connection
 */
export async function openSession(client: pg.ClientBase, plan: SessionPlan): Promise<void> {
  const settings = { ...SETTINGS, ...plan.settings };
  const values = [Object.keys(settings), Object.values(settings)];
  const run = <Row extends pg.QueryResultRow>(text: string, params?: unknown[]) =>
    client.query<Row>({ text, ...(params && { values: params }), query_timeout: plan.timeoutMs } as pg.QueryConfig);
  // Settings that could break the statements below.
  await run("SET search_path = public, pg_temp; SET statement_timeout = 0; SET lock_timeout = 0; RESET ROLE");
  try {
    await run(`SELECT set_config(name, value, false) FROM (${DIFFERING}) d`, values);
    if (plan.role !== undefined) await run(`SET ROLE ${pg.escapeIdentifier(plan.role)}`);
  } catch (error) {
    const state = sqlState(error);
    if (state === SQLSTATE.INSUFFICIENT_PRIVILEGE || state === SQLSTATE.INVALID_PARAMETER_VALUE) {
      throw new SessionError(SQLSTATE.CONNECTION_REJECTED, `PostgreSQL says: ${(error as Error).message}`, {
        cause: error,
      });
    }
    throw error;
  }
  await verify(client, plan, run, values);
}

async function verify(
  client: pg.ClientBase,
  plan: SessionPlan,
  run: <Row extends pg.QueryResultRow>(text: string, params?: unknown[]) => Promise<pg.QueryResult<Row>>,
  values: unknown[],
): Promise<void> {
  const { rows } = await run<{ pid: number; role: string; read_only: string; differing: string[] | null }>(
    `SELECT pg_backend_pid() AS pid, current_user AS role, current_setting('transaction_read_only') AS read_only,
       (SELECT array_agg(format('%s is %s, not %s', name, setting, value)) FROM (${DIFFERING}) d
        WHERE name NOT LIKE 'tcp\\_%') AS differing`,
    values,
  );
  const found = rows[0];
  const differing = found?.differing ?? [];
  if (plan.role !== undefined && found?.role !== plan.role) differing.push(`role is ${found?.role}, not ${plan.role}`);
  if (differing.length > 0) {
    const where = found?.pid === ownPid(client) ? "" : `; perhaps ${SHARES_BACKENDS}`;
    throw new SessionError(
      SQLSTATE.CONNECTION_REJECTED,
      `a session does not keep its settings: ${differing.join("; ")}${where}`,
    );
  }
  if (found?.read_only !== "off") {
    throw new SessionError(SQLSTATE.READ_ONLY, "the database is read-only: it is a standby, or the session is made so");
  }
}

/** Returns the refusal of a pooler that shares backends. */
export function sharedBackendsError(): SessionError {
  return new SessionError(SQLSTATE.CONNECTION_REJECTED, SHARES_BACKENDS);
}

/** Returns the backend pid from the start-up: the session's own, or one that a pooler invented. */
function ownPid(client: pg.ClientBase): number | null {
  return (client as unknown as { processID: number | null }).processID;
}

/**
 * Refuses a pooler that lends a backend only for a transaction or a statement: roles, time limits, named statements and advisory
 * locks would leak to other clients.
 * @param pool with at least two free connections
 * @throws SessionError
 */
export async function assertOwnBackends(pool: pg.Pool): Promise<void> {
  const first = await pool.connect();
  const taken = [first];
  try {
    const [pid] = await listBackends(first);
    if (pid === ownPid(first)) return;
    const second = await pool.connect();
    taken.push(second);
    const pids = await listBackends(first, second);
    // While both are idle, each has its own backend, or a pooler lends both the same one.
    if (pids[0] === pids[1]) throw sharedBackendsError();
    // Both hold a backend during a transaction. Whichever the pooler lends next, one of the two then gets the other's.
    await first.query("BEGIN");
    await second.query("BEGIN");
    const own = await listBackends(first, second);
    await first.query("COMMIT");
    await second.query("COMMIT");
    const later = [...(await listBackends(first, first, second)), ...pids];
    if ([own[0], own[0], own[1], own[0], own[1]].some((expected, index) => later[index] !== expected)) {
      throw sharedBackendsError();
    }
  } finally {
    // Connections that may be inside a transaction are not reused.
    for (const client of taken) client.release(taken.length > 1);
  }
}

async function listBackends(...clients: readonly pg.ClientBase[]): Promise<number[]> {
  const pids: number[] = [];
  for (const client of clients) {
    const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    pids.push(...rows.map((row) => row.pid));
  }
  return pids;
}

/** Lists settings of the server, the database or the login that endanger committed data, for the operator. */
export async function findDangers(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string; reset_val: string }>(
    `SELECT name, reset_val FROM pg_settings WHERE (name IN ('fsync', 'full_page_writes') AND reset_val = 'off')
       OR (name = 'synchronous_commit' AND reset_val NOT IN ('on', 'remote_apply')) ORDER BY name`,
  );
  return rows.map(({ name, reset_val: value }) =>
    name === "synchronous_commit"
      ? `the server, the database or the login has synchronous_commit = ${value}; Grey's own sessions set it on`
      : `the server has ${name} = off: a crash of the machine loses or damages what was acknowledged; set it on`,
  );
}
