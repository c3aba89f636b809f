import { join } from "node:path";
import type pg from "pg";
import { DataSource } from "typeorm";
import { SettingError, type Config } from "../config/config.js";
import { ENTITIES } from "./database.js";
import { startEmbeddedPostgres } from "./embedded-postgres.js";
import { openSession, ownerPlan, SessionError } from "./session.js";
import { sqlState, SQLSTATE } from "./sqlstate.js";

const MIGRATIONS = join(import.meta.dirname, "../../migrations/[0-9]*.js");

/** Any number: the key of the advisory lock that lets one process at a time migrate. */
const MIGRATION_LOCK = 7_239_472_601;

const CONNECT_TIMEOUT_MS = 10_000;

/** Brings the schema of the database up to date, one process at a time. Returns the names of what it ran. */
export async function migrateUp(ownerUrl: string): Promise<string[]> {
  return asOwner(ownerUrl, async (dataSource) => {
    const migrations = await dataSource.runMigrations({ transaction: "each" });
    return migrations.map((migration) => migration.name);
  });
}

/** Takes the latest migration back. */
export async function migrateDown(ownerUrl: string): Promise<void> {
  await asOwner(ownerUrl, (dataSource) => dataSource.undoLastMigration({ transaction: "each" }));
}

/** Whether there are migrations that the database has not run. */
export async function hasPending(ownerUrl: string): Promise<boolean> {
  return asOwner(ownerUrl, (dataSource) => dataSource.showMigrations());
}

/** What the entities would have the schema changed by: statements, none when both agree. */
export async function findDrift(ownerUrl: string): Promise<string[]> {
  return asOwner(ownerUrl, async (dataSource) => {
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map((query) => query.query);
  });
}

/** The command `grey migrate`: up, one back, or a check for drift, on the database of the settings. */
export async function migrate(
  config: Config,
  options: { readonly revert?: boolean; readonly check?: boolean; readonly onProgress: (line: string) => void },
): Promise<void> {
  const url = config.GREY_DATABASE_OWNER_URL ?? config.DATABASE_URL;
  if (url !== undefined) return migrateAt(url, options);
  const embedded = await startEmbeddedPostgres({
    dataDir: config.GREY_DATA_DIR,
    port: config.GREY_EMBEDDED_PORT,
    onProgress: options.onProgress,
  });
  try {
    await migrateAt(embedded.ownerUrl, options);
  } finally {
    await embedded.stop();
  }
}

async function migrateAt(
  url: string,
  {
    revert,
    check,
    onProgress,
  }: { readonly revert?: boolean; readonly check?: boolean; readonly onProgress: (line: string) => void },
): Promise<void> {
  if (revert === true) {
    await migrateDown(url);
    return onProgress("took back the latest migration");
  }
  if (check !== true) {
    const names = await migrateUp(url);
    return onProgress(names.length === 0 ? "the schema is up to date" : `ran ${names.join(", ")}`);
  }
  if (await hasPending(url)) throw new SettingError("the schema is not up to date: run `grey migrate`");
  const drift = await findDrift(url);
  if (drift.length > 0) throw new SettingError(`entities and migrations disagree:\n${drift.join("\n")}`);
  onProgress("entities and migrations agree");
}

async function asOwner<T>(url: string, work: (dataSource: DataSource) => Promise<T>): Promise<T> {
  const plan = ownerPlan(CONNECT_TIMEOUT_MS);
  const dataSource = new DataSource({
    type: "postgres",
    url,
    applicationName: "grey-migrate",
    entities: ENTITIES,
    migrations: [MIGRATIONS],
    migrationsTableName: "migrations",
    installExtensions: false,
    // Two: TypeORM's own, and the one that holds the lock.
    poolSize: 2,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    poolErrorHandler: () => undefined,
    extra: { onConnect: (client: pg.Client) => openSession(client, plan) },
  });
  await dataSource.initialize().catch(explainConnection);
  const lock = dataSource.createQueryRunner();
  try {
    await lock.query("SET lock_timeout = 0");
    await lock.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    return await work(dataSource);
  } finally {
    await lock.query("SELECT pg_advisory_unlock_all()").catch(() => undefined);
    await lock.release();
    await dataSource.destroy();
  }
}

/** Turns what only the operator can mend into a SettingError; the URL's password stays out of it. */
export function explainConnection(error: unknown): never {
  const state = sqlState(error);
  if (error instanceof SessionError && state === SQLSTATE.CONNECTION_REJECTED) {
    throw new SettingError(`DATABASE_URL: ${error.message}`);
  }
  if (state !== undefined && OPERATOR_ERRORS.includes(state)) {
    throw new SettingError(`DATABASE_URL: PostgreSQL says: ${(error as Error).message}`);
  }
  throw error;
}

const OPERATOR_ERRORS: readonly string[] = [
  SQLSTATE.INVALID_PASSWORD,
  SQLSTATE.INVALID_AUTHORIZATION,
  SQLSTATE.INVALID_CATALOG_NAME,
  SQLSTATE.INSUFFICIENT_PRIVILEGE,
];
