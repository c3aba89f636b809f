import type { DataSource } from "typeorm";
import { assertPresent } from "../base/assert.js";
import { SettingError } from "../config/config.js";
import { describeDatabase } from "../config/database-url.js";
import type { Run } from "./service-role.js";
import type { DatabaseAddress } from "./unreachable.js";

/** The database whose schema is in question. */
export interface LedgerPlace extends DatabaseAddress {
  /** The data folder of the embedded PostgreSQL; undefined for another. */
  readonly dataDir: string | undefined;
}

/** The migrations of this version, in order, by whether the database has run them. */
export interface SchemaHistory {
  readonly applied: readonly string[];
  readonly pending: readonly string[];
}

// has_list_right: the service's role may read the list of migrations in every database that this version has migrated.
const STATE = `
SELECT to_regclass('public.journal_head') IS NOT NULL AND to_regclass('public.installation') IS NOT NULL AS has_ledger,
  (SELECT array_agg(attname::text) FROM pg_attribute
   WHERE attrelid = to_regclass('public.migrations') AND attnum > 0 AND NOT attisdropped) AS list_columns,
  has_table_privilege(to_regclass('public.migrations'), 'SELECT') AS has_list_right,
  (SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
   WHERE relnamespace = to_regnamespace('public') AND relname = ANY ($1)) AS tables`;

interface State {
  readonly has_ledger: boolean;
  /** null: there is no list. */
  readonly list_columns: readonly string[] | null;
  readonly has_list_right: boolean | null;
  /** The tables that have the names of Grey's; null for none. */
  readonly tables: readonly string[] | null;
}

/** The columns of TypeORM's list of migrations. */
const LIST_COLUMNS = ["id", "timestamp", "name"];

/**
 * Reads which of this version's migrations the database has run. Changes nothing.
 * @param role of the session that serves; undefined for a session of the owner
 * @throws SettingError if another version of Grey or another program has made the schema
 */
export async function readHistory(
  run: Run,
  { migrations, entityMetadatas }: DataSource,
  place: LedgerPlace,
  role?: string,
): Promise<SchemaHistory> {
  const known = migrations.map(({ name, constructor }) => name ?? constructor.name);
  const [row] = await run<State>(STATE, [entityMetadatas.map(({ tableName }) => tableName)]);
  const state = assertPresent(row, "the state of the schema");
  const names = await readList(run, state, role);
  const objection = findObjection(state, names, known);
  if (objection !== undefined) return refuse(place, objection);
  return {
    applied: known.filter((name) => names?.includes(name)),
    pending: known.filter((name) => !names?.includes(name)),
  };
}

/** Reads the list of migrations. Returns undefined if the service may not read it or it is not one of TypeORM's. */
async function readList(run: Run, state: State, role: string | undefined): Promise<string[] | undefined> {
  const { list_columns: columns, has_list_right: hasRight } = state;
  if (columns === null) return [];
  if (!LIST_COLUMNS.every((name) => columns.includes(name))) return undefined;
  // An owner without the right meets the error, which says who can grant it.
  if (role !== undefined && hasRight !== true) return undefined;
  const rows = await run<{ name: string }>("SELECT name FROM public.migrations ORDER BY timestamp, name");
  return rows.map(({ name }) => name);
}

function findObjection(
  { has_ledger: hasLedger, tables }: State,
  names: readonly string[] | undefined,
  known: readonly string[],
): Objection | undefined {
  if (names === undefined) return hasLedger ? earlier([]) : foreign(["migrations"]);
  if (names.length === 0) return tables === null ? undefined : foreign(tables);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return undefined;
  if (!hasLedger) return foreign(["migrations"]);
  const latest = Math.max(...known.map(parseTime));
  return unknown.some((name) => parseTime(name) <= latest) ? earlier(unknown) : newer(unknown);
}

/** Returns the time of a migration, with which its name ends. */
function parseTime(name: string): number {
  return Number(/\d+$/.exec(name)?.[0] ?? 0);
}

/** A reason why this version cannot use a database: a clause about it, and what helps beside another database. */
interface Objection {
  readonly found: string;
  readonly remedy?: string;
}

function earlier(names: readonly string[]): Objection {
  return {
    found: `holds the ledger of an earlier version of Grey, which this version can neither read nor upgrade${describeList(names)}`,
    remedy: "or run the version that made it",
  };
}

function newer(names: readonly string[]): Objection {
  return {
    found: `holds the ledger of a newer version of Grey, whose schema this version does not know${describeList(names)}`,
    remedy: "or run that version, or revert its migrations with its own `grey migrate --revert`",
  };
}

function foreign(tables: readonly string[]): Objection {
  return {
    found: `holds tables that Grey has not made, and Grey needs a database of its own (found: ${tables.join(", ")})`,
  };
}

function describeList(names: readonly string[]): string {
  if (names.length === 0) return "";
  const ends = names.length > 2 ? `${names[0]} to ${names.at(-1)}` : names.join(", ");
  return ` (found: ${ends}${names.length > 2 ? `, ${names.length} migrations` : ""})`;
}

function refuse({ url, setting, dataDir }: LedgerPlace, { found, remedy }: Objection): never {
  const [subject, escape] =
    dataDir === undefined
      ? [`${setting}: ${describeDatabase(url)}`, `point ${SETTINGS[setting]} at an empty database`]
      : [`GREY_DATA_DIR: the database in ${dataDir}`, `move the folder ${dataDir} away to begin with an empty ledger`];
  throw new SettingError(
    `${subject} ${found}; nothing was changed; ${escape}${remedy === undefined ? "" : `, ${remedy}`}`,
  );
}

/** The settings that lead to the database. */
const SETTINGS = {
  DATABASE_URL: "DATABASE_URL",
  GREY_DATABASE_OWNER_URL: "DATABASE_URL and GREY_DATABASE_OWNER_URL",
} as const satisfies Record<DatabaseAddress["setting"], string>;
