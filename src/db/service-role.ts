import { SettingError } from "../config/config.js";
import { sqlState, SQLSTATE } from "./sqlstate.js";
import { grantStatements, identifier, type DatabaseAddress } from "./unreachable.js";

/** Runs one statement in the session at hand. */
export type Run = <Row>(text: string, params?: readonly unknown[]) => Promise<Row[]>;

/** The role that the service assumes, and the login that assumes it; undefined for no login yet. */
export interface ServiceRole {
  readonly role: string;
  readonly login?: string | undefined;
}

const STATE = `
SELECT current_user AS owner, current_database() AS database, current_setting('server_version') AS version,
  current_setting('server_version_num')::int AS version_number, current_setting('server_encoding') AS encoding,
  EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS has_role`;

interface State {
  readonly owner: string;
  readonly database: string;
  readonly version: string;
  readonly version_number: number;
  readonly encoding: string;
  readonly has_role: boolean;
}

/**
 * Creates the service's role if it is missing, and lets the login assume it. Roles belong to the cluster: another ledger of the
 * same cluster may create this one at the same moment.
 * @throws SettingError with the statements that an administrator runs
 */
export async function ensureServiceRole(
  run: Run,
  { role, login }: ServiceRole,
  { setting }: DatabaseAddress,
): Promise<void> {
  const [state] = await run<State>(STATE, [role]);
  if (state === undefined) return;
  if (state.version_number < 150_000) {
    throw new SettingError(`${setting}: the server is PostgreSQL ${state.version}; Grey needs 15 or newer`);
  }
  if (state.encoding !== "UTF8") {
    throw new SettingError(
      `${setting}: the database is encoded in ${state.encoding}; Grey needs UTF8; for a new database, an administrator runs: ` +
        `CREATE DATABASE ${identifier(`${state.database}_utf8`)} OWNER ${identifier(state.owner)} TEMPLATE template0 ENCODING 'UTF8';`,
    );
  }
  await refuseAnotherRole(run, role, state.has_role);
  const user = login ?? state.owner;
  if (!state.has_role) {
    const isCreated = await runIfAllowed(run, `CREATE ROLE ${identifier(role)} NOLOGIN`);
    if (!isCreated) {
      throw new SettingError(
        `GREY_DATABASE_ROLE: the role ${role} does not exist, and ${state.owner} may not create it; ` +
          `an administrator runs: ${grantStatements(role, user, true)}`,
      );
    }
  }
  if (await mayAssume(run, user, role, state.version_number)) return;
  if (await runIfAllowed(run, `GRANT ${identifier(role)} TO ${identifier(user)}`)) return;
  throw new SettingError(
    `GREY_DATABASE_ROLE: ${user} may not assume the role ${role}, which another login has created; an administrator runs: ` +
      `${grantStatements(role, user, false)} Or give this ledger a role of its own: set GREY_DATABASE_ROLE to a new name`,
  );
}

/** Refuses a role other than the one that the ledger was migrated with: it has no rights in the ledger. */
async function refuseAnotherRole(run: Run, role: string, hasRole: boolean): Promise<void> {
  const grantees = await run<{ role: string; owner: string }>(
    `SELECT g.grantee::regrole::text AS role FROM pg_class c, aclexplode(c.relacl) g
     WHERE c.oid = to_regclass('public.journal_head') AND g.privilege_type = 'UPDATE' AND g.grantee NOT IN (0, c.relowner)`,
  );
  const roles = grantees.map((row) => row.role);
  if (roles.length === 0 || (hasRole && roles.includes(identifier(role)))) return;
  throw new SettingError(
    `GREY_DATABASE_ROLE: this ledger was migrated with the role ${roles.join(", ")}, and ${role} has no rights in it; ` +
      `set GREY_DATABASE_ROLE=${roles[0]}`,
  );
}

/** Returns whether sessions of the login may SET ROLE; true for a login that only a pooler knows. */
async function mayAssume(run: Run, login: string, role: string, version: number): Promise<boolean> {
  const kind = version < 160_000 ? "MEMBER" : "SET";
  const rows = await run<{ may: boolean }>(
    "SELECT pg_has_role(rolname, $2, $3) AS may FROM pg_roles WHERE rolname = $1",
    [login, role, kind],
  );
  return rows[0]?.may ?? true;
}

/** Runs the statement. Returns false if the owner has no right to. */
async function runIfAllowed(run: Run, statement: string): Promise<boolean> {
  try {
    await run(statement);
    return true;
  } catch (error) {
    if (sqlState(error) === SQLSTATE.INSUFFICIENT_PRIVILEGE) return false;
    // Another ledger of the cluster was faster.
    if (["42710", SQLSTATE.UNIQUE_VIOLATION].includes(sqlState(error) ?? "")) return true;
    throw error;
  }
}

/** No right; no schema to create in; a table that exists, and that TypeORM does not see because another role owns it. */
const LACKS_RIGHTS: readonly string[] = [SQLSTATE.INSUFFICIENT_PRIVILEGE, "3F000", "42P07"];

const OBSTACLES = `
SELECT current_user AS owner, current_database() AS database, to_regnamespace('public') IS NULL AS lacks_schema,
  (SELECT NOT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'public') AS lacks_create,
  (SELECT array_agg(DISTINCT pg_get_userbyid(relowner)::text) FROM pg_class
   WHERE relnamespace = to_regnamespace('public') AND relkind = 'r' AND NOT pg_has_role(relowner, 'USAGE')) AS owners`;

/**
 * Rethrows a migration's error: if the owner lacks a right, as a SettingError with the statement that grants it.
 * @param run runs outside of the transaction that failed
 */
export async function explainMigration(error: unknown, run: Run, { setting }: DatabaseAddress): Promise<never> {
  const state = sqlState(error);
  if (state === undefined || !LACKS_RIGHTS.includes(state)) throw error;
  const [found] = await run<{
    owner: string;
    database: string;
    lacks_schema: boolean;
    lacks_create: boolean | null;
    owners: string[] | null;
  }>(OBSTACLES);
  const owner = identifier(found?.owner ?? "");
  const statements: string[] = [];
  if (found?.lacks_schema === true) statements.push(`CREATE SCHEMA public AUTHORIZATION ${owner};`);
  if (found?.lacks_create === true) statements.push(`GRANT USAGE, CREATE ON SCHEMA public TO ${owner};`);
  for (const other of found?.owners ?? []) statements.push(`GRANT ${identifier(other)} TO ${owner};`);
  if (statements.length === 0)
    statements.push(`ALTER DATABASE ${identifier(found?.database ?? "")} OWNER TO ${owner};`);
  throw new SettingError(
    `${setting}: the schema cannot be brought up to date: PostgreSQL says: ${(error as Error).message}; ` +
      `an administrator runs: ${statements.join(" ")}`,
    { cause: error },
  );
}
