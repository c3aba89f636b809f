import { join } from "node:path";
import type pg from "pg";
import { DataSource } from "typeorm";
import { readConfig, SettingError, type Config } from "../config/config.js";
import { ENTITIES } from "./database.js";
import { startEmbeddedPostgres } from "./embedded-postgres.js";
import { ensureServiceRole, explainMigration, type Run, type ServiceRole } from "./service-role.js";
import { assertOwnBackends, openSession, ownerPlan } from "./session.js";
import { type DatabaseAddress, explainConnection } from "./unreachable.js";

const MIGRATIONS = join(import.meta.dirname, "../../migrations/[0-9]*.js");

/** Any number: the key of the advisory lock that lets one process at a time migrate. */
const MIGRATION_LOCK = 7_239_472_601;

const CONNECT_TIMEOUT_MS = 10_000;

/** How to migrate: as whom, and what for. */
export interface MigrationPlan extends ServiceRole {
  readonly setting: DatabaseAddress["setting"];
}

/** The plan that the settings make, for a service that connects with this URL. */
export function migrationPlan(config: Config, serviceUrl: string | undefined): MigrationPlan {
  return {
    role: config.GREY_DATABASE_ROLE,
    login: serviceUrl === undefined ? undefined : decodeURIComponent(new URL(serviceUrl).username),
    setting: config.GREY_DATABASE_OWNER_URL === undefined ? "DATABASE_URL" : "GREY_DATABASE_OWNER_URL",
  };
}

const PLAN = migrationPlan(readConfig({}), undefined);

/** Brings the schema of the database up to date, one process at a time. Returns the names of what it ran. */
export async function migrateUp(ownerUrl: string, plan = PLAN): Promise<string[]> {
  return asOwner(ownerUrl, plan, async (dataSource, run) => {
    await ensureServiceRole(run, plan, { url: ownerUrl, setting: plan.setting });
    const migrations = await dataSource.runMigrations({ transaction: "each" });
    return migrations.map((migration) => migration.name);
  });
}

/** Takes the latest migration back. */
export async function migrateDown(ownerUrl: string, plan = PLAN): Promise<void> {
  await asOwner(ownerUrl, plan, (dataSource) => dataSource.undoLastMigration({ transaction: "each" }));
}

/** Whether there are migrations that the database has not run. */
export async function hasPending(ownerUrl: string, plan = PLAN): Promise<boolean> {
  return asOwner(ownerUrl, plan, (dataSource) => dataSource.showMigrations());
}

/** What the entities would have the schema changed by: statements, none when both agree. */
export async function findDrift(ownerUrl: string, plan = PLAN): Promise<string[]> {
  return asOwner(ownerUrl, plan, async (dataSource) => {
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
  const plan = migrationPlan(config, config.DATABASE_URL);
  if (url !== undefined) return migrateAt(url, plan, options);
  const embedded = await startEmbeddedPostgres({
    dataDir: config.GREY_DATA_DIR,
    port: config.GREY_EMBEDDED_PORT,
    onProgress: options.onProgress,
  });
  try {
    await migrateAt(embedded.ownerUrl, plan, options);
  } finally {
    await embedded.stop();
  }
}

async function migrateAt(
  url: string,
  plan: MigrationPlan,
  {
    revert,
    check,
    onProgress,
  }: { readonly revert?: boolean; readonly check?: boolean; readonly onProgress: (line: string) => void },
): Promise<void> {
  if (revert === true) {
    await migrateDown(url, plan);
    return onProgress("took back the latest migration");
  }
  if (check !== true) {
    const names = await migrateUp(url, plan);
    return onProgress(names.length === 0 ? "the schema is up to date" : `ran ${names.join(", ")}`);
  }
  if (await hasPending(url, plan)) throw new SettingError("the schema is not up to date: run `grey migrate`");
  const drift = await findDrift(url, plan);
  if (drift.length > 0) throw new SettingError(`entities and migrations disagree:\n${drift.join("\n")}`);
  onProgress("entities and migrations agree");
}

async function asOwner<T>(
  url: string,
  { role, setting }: MigrationPlan,
  work: (dataSource: DataSource, run: Run) => Promise<T>,
): Promise<T> {
  const address = { url, setting };
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
    // The migrations grant to the role.
    extra: { serviceRole: role, onConnect: (client: pg.Client) => openSession(client, plan) },
  });
  await dataSource.initialize().catch((error: unknown) => explainConnection(error, address));
  const { master: pool } = dataSource.driver as unknown as { master: pg.Pool };
  await assertOwnBackends(pool).catch(async (error: unknown) => {
    await dataSource.destroy();
    explainConnection(error, address);
  });
  const lock = dataSource.createQueryRunner();
  const run: Run = (text, params) => lock.query(text, params && [...params]);
  try {
    await lock.query("SET lock_timeout = 0");
    await lock.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    return await work(dataSource, run).catch((error: unknown) => explainMigration(error, run, address));
  } finally {
    await lock.query("SELECT pg_advisory_unlock_all()").catch(() => undefined);
    await lock.release();
    await dataSource.destroy();
  }
}
