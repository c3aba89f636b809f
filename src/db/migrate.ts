import { join } from "node:path";
import type pg from "pg";
import { DataSource } from "typeorm";
import { readConfig, SettingError, type Config } from "../config/config.js";
import { ENTITIES } from "./database.js";
import { startEmbeddedPostgres } from "./embedded-postgres.js";
import { type LedgerPlace, readHistory, type SchemaHistory } from "./schema-history.js";
import { ensureServiceRole, explainMigration, type Run, type ServiceRole } from "./service-role.js";
import { assertOwnBackends, openSession, ownerPlan, servicePlan, type SessionPlan } from "./session.js";
import { sqlState } from "./sqlstate.js";
import { explainConnection } from "./unreachable.js";

const MIGRATIONS = join(import.meta.dirname, "../../migrations/[0-9]*.js");

/** The key of the advisory lock that lets one process at a time migrate: any number. */
const MIGRATION_LOCK = 7_239_472_601;

const CONNECT_TIMEOUT_MS = 10_000;

/** The role that migrations grant to, and the settings that the database comes from. */
export interface MigrationPlan extends ServiceRole, Omit<LedgerPlace, "url"> {}

/**
 * Returns the plan that the settings make.
 * @param serviceUrl that the service connects with
 * @param dataDir of the embedded PostgreSQL, if that is the database
 */
export function migrationPlan(config: Config, serviceUrl?: string, dataDir?: string): MigrationPlan {
  return {
    role: config.GREY_DATABASE_ROLE,
    login: serviceUrl === undefined ? undefined : decodeURIComponent(new URL(serviceUrl).username),
    setting: config.GREY_DATABASE_OWNER_URL === undefined ? "DATABASE_URL" : "GREY_DATABASE_OWNER_URL",
    dataDir,
  };
}

const PLAN = migrationPlan(readConfig({}));

/** Brings the schema of the database up to date, one process at a time. Returns the names of the migrations that it ran. */
export async function migrateUp(ownerUrl: string, plan = PLAN): Promise<string[]> {
  return asOwner(ownerUrl, plan, async ({ dataSource, run }) => {
    await ensureServiceRole(run, plan, { url: ownerUrl, setting: plan.setting });
    const migrations = await dataSource.runMigrations({ transaction: "each" });
    return migrations.map((migration) => migration.name);
  });
}

/**
 * Reverts the latest migration. Returns its name; undefined if none was run.
 * @throws SettingError if that would drop a ledger with records
 */
export async function migrateDown(ownerUrl: string, plan = PLAN): Promise<string | undefined> {
  return asOwner(ownerUrl, plan, async ({ dataSource, history: { applied } }) => {
    if (applied.length === 0) return undefined;
    await dataSource.undoLastMigration({ transaction: "each" }).catch((error: unknown) => {
      if (sqlState(error) !== IN_USE) throw error;
      throw new SettingError(
        `${plan.setting}: ${(error as Error).message}; nothing was changed; drop the database itself if nobody needs it`,
        { cause: error },
      );
    });
    return applied.at(-1);
  });
}

/** The SQLSTATE object_not_in_prerequisite_state, by which a migration refuses to drop what holds data. */
const IN_USE = "55000";

/** Returns the statements by which the entities would change the schema; none if both agree. */
export async function findDrift(ownerUrl: string, plan = PLAN): Promise<string[]> {
  return asOwner(ownerUrl, plan, async ({ dataSource, history: { pending } }) => {
    if (pending.length > 0) throw new SettingError(`${plan.setting}: ${NOT_UP_TO_DATE}`);
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
    return upQueries.map((query) => query.query);
  });
}

const NOT_UP_TO_DATE = "the schema is not up to date; run `grey migrate`";

/**
 * Verifies, as the service, that the schema is that of this version: for a server that does not migrate.
 * @throws SettingError
 */
export async function assertMigrated(url: string, config: Config, dataDir?: string): Promise<void> {
  const place = { url, setting: "DATABASE_URL", dataDir } as const;
  const plan = servicePlan(config);
  const dataSource = await open(place, config.GREY_DATABASE_ROLE, plan);
  try {
    const run: Run = (text, params) => dataSource.query(text, params && [...params]);
    const { pending } = await readHistory(run, dataSource, place, plan.role);
    if (pending.length > 0)
      throw new SettingError(`DATABASE_URL: ${NOT_UP_TO_DATE}, or set GREY_MIGRATE_ON_START=true`);
  } finally {
    await dataSource.destroy();
  }
}

interface MigrateOptions {
  readonly revert?: boolean;
  readonly check?: boolean;
  readonly onProgress: (line: string) => void;
}

/** Runs the command `grey migrate`: up, one back, or a check for drift, on the database of the settings. */
export async function migrate(config: Config, options: MigrateOptions): Promise<void> {
  const url = config.GREY_DATABASE_OWNER_URL ?? config.DATABASE_URL;
  if (url !== undefined) return migrateAt(url, migrationPlan(config, config.DATABASE_URL), options);
  const embedded = await startEmbeddedPostgres({
    dataDir: config.GREY_DATA_DIR,
    port: config.GREY_EMBEDDED_PORT,
    onProgress: options.onProgress,
  });
  try {
    await migrateAt(embedded.ownerUrl, migrationPlan(config, undefined, embedded.dataDir), options);
  } finally {
    await embedded.stop();
  }
}

async function migrateAt(
  url: string,
  plan: MigrationPlan,
  { revert, check, onProgress }: MigrateOptions,
): Promise<void> {
  if (revert === true) {
    const name = await migrateDown(url, plan);
    return onProgress(name === undefined ? "there is no migration to revert" : `reverted ${name}`);
  }
  if (check === true) {
    const drift = await findDrift(url, plan);
    if (drift.length > 0) throw new SettingError(`entities and migrations disagree:\n${drift.join("\n")}`);
    return onProgress("entities and migrations agree");
  }
  const names = await migrateUp(url, plan);
  onProgress(names.length === 0 ? "the schema is up to date" : `ran ${names.join(", ")}`);
}

interface OwnerSession {
  readonly dataSource: DataSource;
  readonly run: Run;
  readonly history: SchemaHistory;
}

/** Works as the owner while no other process migrates, on a database whose history this version knows. */
async function asOwner<T>(
  url: string,
  { role, setting, dataDir }: MigrationPlan,
  work: (session: OwnerSession) => Promise<T>,
): Promise<T> {
  const place = { url, setting, dataDir };
  const dataSource = await open(place, role, ownerPlan(CONNECT_TIMEOUT_MS));
  const lock = dataSource.createQueryRunner();
  const run: Run = (text, params) => lock.query(text, params && [...params]);
  try {
    await lock.query("SET lock_timeout = 0");
    await lock.query("SELECT pg_advisory_lock($1)", [MIGRATION_LOCK]);
    return await readHistory(run, dataSource, place)
      .then((history) => work({ dataSource, run, history }))
      .catch((error: unknown) => explainMigration(error, run, place));
  } finally {
    await lock.query("SELECT pg_advisory_unlock_all()").catch(() => undefined);
    await lock.release();
    await dataSource.destroy();
  }
}

/**
 * Connects with the migrations at hand.
 * @param role that the migrations grant to
 */
async function open(address: LedgerPlace, role: string, plan: SessionPlan): Promise<DataSource> {
  const dataSource = new DataSource({
    type: "postgres",
    url: address.url,
    applicationName: "grey-migrate",
    entities: ENTITIES,
    migrations: [MIGRATIONS],
    migrationsTableName: "migrations",
    installExtensions: false,
    // Two: TypeORM's own, and the one that holds the lock.
    poolSize: 2,
    connectTimeoutMS: plan.timeoutMs,
    poolErrorHandler: () => undefined,
    extra: { serviceRole: role, onConnect: (client: pg.Client) => openSession(client, plan) },
  });
  await dataSource.initialize().catch((error: unknown) => explainConnection(error, address, plan.role));
  const { master: pool } = dataSource.driver as unknown as { master: pg.Pool };
  await assertOwnBackends(pool).catch(async (error: unknown) => {
    await dataSource.destroy();
    explainConnection(error, address, plan.role);
  });
  return dataSource;
}
