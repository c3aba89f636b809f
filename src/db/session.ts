import pg from "pg";
import type { Config } from "../config/config.js";
import { SQLSTATE, sqlState } from "./sqlstate.js";

// A session is set up by statements, since poolers refuse a start-up packet with options, and what it has is read back: a
// session that works with other rights, without time limits, or with another meaning of a date must not serve.

/** What a session is to work with. */
export interface SessionPlan {
  /** The role that it takes on; undefined: the login's own rights. */
  readonly role: string | undefined;
  /** Settings over those that every session has, as `pg_settings` shows them. */
  readonly settings: Readonly<Record<string, string>>;
  /** How long each statement of the set-up may take, in ms. */
  readonly timeoutMs: number;
}

/**
 * The session cannot be had in the way in which it is needed. It has the SQLSTATE that PostgreSQL would give: of a
 * read-only database, which may be a standby that becomes the primary, or of a refusal, which only an operator can mend.
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
 * How the statements of a session that serves are planned: rows are found by keys, also while PostgreSQL's statistics are of
 * a time when the tables were nearly empty. A plan that was made then is kept until the tables are analysed.
 */
const BY_KEYS = { enable_seqscan: "off", enable_hashjoin: "off", enable_mergejoin: "off" };

/** Lets the current transaction's statements be planned to read whole tables, for what is about everything. */
export const READ_WHOLE_TABLES =
  "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";

/** The session that serves. */
export function servicePlan(config: Config): SessionPlan {
  const timeoutMs = `${config.GREY_DATABASE_STATEMENT_TIMEOUT_MS}`;
  return {
    role: config.GREY_DATABASE_ROLE,
    settings: {
      ...BY_KEYS,
      statement_timeout: timeoutMs,
      lock_timeout: timeoutMs,
      idle_in_transaction_session_timeout: timeoutMs,
      // PostgreSQL gives up on a server that the network has swallowed, and frees the locks of its transactions.
      tcp_user_timeout: timeoutMs,
      tcp_keepalives_idle: "10",
      tcp_keepalives_interval: "5",
      tcp_keepalives_count: "3",
    },
    timeoutMs: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
  };
}

/** The session that migrates, with the rights of its login. */
export function ownerPlan(timeoutMs: number): SessionPlan {
  return {
    role: undefined,
    settings: {
      statement_timeout: "0",
      // A migration that cannot have a table soon must not make the postings queue behind it.
      lock_timeout: "5000",
      idle_in_transaction_session_timeout: "0",
    },
    timeoutMs,
  };
}

/** What every session has, whatever the server, the database and the login have set. Those that a version lacks are left out. */
const SETTINGS: Readonly<Record<string, string>> = {
  // How values are written and read.
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
  // Which tables and rows are meant, and which triggers fire.
  search_path: "public, pg_temp",
  row_security: "on",
  session_replication_role: "origin",
  gin_fuzzy_search_limit: "0",
  default_table_access_method: "heap",
  temp_tablespaces: "",
  check_function_bodies: "on",
  // What a transaction is, and what its commit promises.
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  default_transaction_deferrable: "off",
  synchronous_commit: "on",
  // What ends a session.
  exit_on_error: "off",
  idle_session_timeout: "0",
  transaction_timeout: "0",
  // A commit that may be lost in a failover says so in a warning.
  client_min_messages: "warning",
  // Compiling a statement of the ledger takes longer than running it.
  jit: "off",
  // The ledger's statements are named and take arrays: planning them anew for each call gains nothing.
  plan_cache_mode: "force_generic_plan",
};

// What differs from what is wanted. Otherwise statements are planned as PostgreSQL brings it: the plans are tested with that.
// A commit that waits until a replica has applied it promises more than is wanted.
const DIFFERING = `
SELECT s.name, s.setting, w.value FROM unnest($1::text[], $2::text[]) AS w (name, value) JOIN pg_settings s ON s.name = w.name
WHERE s.setting <> w.value AND NOT (s.name = 'synchronous_commit' AND s.setting = 'remote_apply')
UNION ALL
SELECT name, setting, boot_val FROM pg_settings
WHERE category LIKE 'Query Tuning%' AND context = 'user' AND setting <> boot_val AND NOT name = ANY ($1::text[])`;

/** A pooler that hands a session's statements to other backends. */
const SHARES_BACKENDS =
  "a connection pooler in front of PostgreSQL shares backends between its clients; Grey needs session pooling (PgBouncer: pool_mode = session)";

/**
 * Makes the session what the plan says, and verifies it.
 * @throws SessionError, or the error of the database or the connection
 */
export async function openSession(client: pg.ClientBase, plan: SessionPlan): Promise<void> {
  const settings = { ...SETTINGS, ...plan.settings };
  const values = [Object.keys(settings), Object.values(settings)];
  const run = <Row extends pg.QueryResultRow>(text: string, params?: unknown[]) =>
    client.query<Row>({ text, ...(params && { values: params }), query_timeout: plan.timeoutMs } as pg.QueryConfig);
  // What would get in the way of all that follows.
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

/** The refusal of a pooler that lends backends. */
export function sharedBackendsError(): SessionError {
  return new SessionError(SQLSTATE.CONNECTION_REJECTED, SHARES_BACKENDS);
}

/** The backend that the start-up named: the session's own, or what a pooler made up. */
function ownPid(client: pg.ClientBase): number | null {
  return (client as unknown as { processID: number | null }).processID;
}

/**
 * Refuses a pooler that lends a backend for a transaction or a statement only: roles, time limits, named statements and
 * advisory locks would be another client's.
 * @param pool with at least two connections to give
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
    // Nothing is lent while both are idle, so each has its own or both get the same.
    if (pids[0] === pids[1]) throw sharedBackendsError();
    // Both take one for a while, and give it back. Whichever the pooler lends first, one of the two gets the other's.
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
    // What may be inside a transaction is not used again.
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

/** What the server, the database or the login has set that endangers what is committed, for the operator to read. */
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
