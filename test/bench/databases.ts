import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import type { Cleanup } from "./cleanup.js";

/** The PostgreSQL to measure on, with the benchmark's own databases. */
export interface Cluster {
  /** The postmaster's pid, if it is the embedded one. */
  readonly pid: number | undefined;
  /** The description in the report. */
  readonly about: string;
  /** Creates a database, empty or as a copy, and returns its URL. All are dropped with the cluster. */
  createDatabase(name: string, template?: string): Promise<string>;
  /** Flushes this round's writes, so that the next round does not pay for them. */
  checkpoint(): Promise<void>;
}

/** Creates a folder for this run that the user postgres can enter; cleanup removes it. */
export async function makeRunFolder(cleanup: Cleanup): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "grey-bench-"));
  cleanup.add(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  return folder;
}

/** Uses the PostgreSQL of the URL, or starts an embedded one in the folder. */
export async function openCluster(
  cleanup: Cleanup,
  folder: string,
  databaseUrl: string | undefined,
  signal: AbortSignal,
): Promise<Cluster> {
  if (databaseUrl !== undefined) return useCluster(cleanup, databaseUrl, undefined);
  const embedded = await startEmbeddedPostgres({ dataDir: join(folder, "data"), port: 0, signal });
  cleanup.add(async () => {
    // The data is discarded: nothing needs to be flushed.
    await embedded.stop({ immediate: true });
    await rm(embedded.dataDir, { recursive: true, force: true });
  });
  return useCluster(undefined, embedded.ownerUrl, embedded.pid);
}

async function useCluster(cleanup: Cleanup | undefined, adminUrl: string, pid: number | undefined): Promise<Cluster> {
  const prefix = `grey_bench_${process.pid}_`;
  const [row] = await run<{ about: string }>(
    adminUrl,
    `SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync ' || current_setting('fsync')
       || ', synchronous_commit ' || current_setting('synchronous_commit')
       || ', shared_buffers ' || current_setting('shared_buffers') AS about`,
  );
  return {
    pid,
    about: `${row?.about ?? "PostgreSQL"}${pid === undefined ? "" : ", embedded"}`,
    createDatabase: async (name, template) => {
      const database = `${prefix}${name}`;
      cleanup?.add(async () => {
        await run(adminUrl, `DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
      });
      const copied = template === undefined ? "" : ` TEMPLATE ${prefix}${template}`;
      await run(adminUrl, `CREATE DATABASE ${database}${copied}`);
      const url = new URL(adminUrl);
      url.pathname = `/${database}`;
      return url.href;
    },
    checkpoint: async () => {
      // This requires a superuser or pg_checkpoint; otherwise the rounds do without.
      await run(adminUrl, "CHECKPOINT").catch(() => undefined);
    },
  };
}

/** Runs `work` on a separate connection. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: "grey-bench" });
  // If the database stops during a query, the query fails too.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs a statement on a separate connection. */
export async function run<Row extends pg.QueryResultRow>(
  url: string,
  statement: string,
  values: unknown[] = [],
): Promise<Row[]> {
  return withClient(url, async (client) => (await client.query<Row>(statement, values)).rows);
}
