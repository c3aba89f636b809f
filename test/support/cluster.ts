import { randomUUID } from "node:crypto";
import { mkdtemp, rm, chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import { migrateUp } from "../../src/db/migrate.js";

// One PostgreSQL for the whole run, with a migrated template database that is cloned for every suite.

const TEMPLATE = "grey_template";

let folder: string | undefined;
let cluster: EmbeddedPostgres | undefined;
let templateReady: Promise<void> | undefined;

/** A suite's own database. */
export interface TestDatabase {
  /** The URL for a superuser. */
  readonly url: string;
  drop(): Promise<void>;
}

/** Starts PostgreSQL once, or uses that of TEST_DATABASE_URL, whose user must be able to create databases. */
async function clusterUrl(): Promise<string> {
  if (process.env.TEST_DATABASE_URL) return process.env.TEST_DATABASE_URL;
  if (cluster === undefined) {
    folder = await mkdtemp(join(tmpdir(), "grey-test-"));
    // For root, the database runs as another user, which must be able to enter the folder.
    await chmod(folder, 0o755);
    cluster = await startEmbeddedPostgres({ dataDir: folder, port: 0 });
  }
  return cluster.ownerUrl;
}

/** Creates a database with the current schema. */
export async function createTestDatabase(): Promise<TestDatabase> {
  templateReady ??= createTemplate();
  await templateReady;
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await asAdmin(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
  return { url: await makeUrl(name), drop: () => asAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** Creates a database without a schema. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  const name = `empty_${randomUUID().replaceAll("-", "")}`;
  await asAdmin(`CREATE DATABASE ${name}`);
  return { url: await makeUrl(name), drop: () => asAdmin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** Stops PostgreSQL if it was started. */
export async function stopCluster(): Promise<void> {
  await cluster?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
}

async function createTemplate(): Promise<void> {
  await asAdmin(`DROP DATABASE IF EXISTS ${TEMPLATE} WITH (FORCE)`);
  await asAdmin(`CREATE DATABASE ${TEMPLATE}`);
  await migrateUp(await makeUrl(TEMPLATE));
}

async function makeUrl(database: string): Promise<string> {
  const url = new URL(await clusterUrl());
  url.pathname = `/${database}`;
  return url.href;
}

async function asAdmin(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: await clusterUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
