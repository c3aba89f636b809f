import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { SettingError } from "../../config/config.js";
import { readPassword } from "./cluster.js";
import { disarmPidFile, isPostmaster, readPidFile, removeEmptyPidFile, type PidFile } from "./pid-file.js";
import type { Place } from "./place.js";
import { identifyProcess } from "./user.js";

/**
 * The advisory lock, in database `postgres`, that a living Grey holds on its embedded PostgreSQL. PostgreSQL lets go of
 * it when that Grey dies, however it dies.
 */
const OWNER_LOCK = 0x67726579;

const POLL_MS = 50;
const RETAKE_MS = 200;
/** Long enough for CREATE DATABASE on a disk that is busy. */
const QUERY_MS_MAX = 120_000;
const CONNECT_MS_MAX = 15_000;
const ANSWER_MS_MAX = 60_000;
const FAST_MS_MAX = 30_000;
const IMMEDIATE_MS_MAX = 10_000;

async function connect(place: Place, port: number): Promise<Client> {
  const client = new Client({
    host: "127.0.0.1",
    port,
    user: "postgres",
    password: await readPassword(place),
    database: "postgres",
    application_name: `grey:${process.pid}`,
    ssl: false,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    query_timeout: QUERY_MS_MAX,
  });
  // Without a listener, a connection that breaks between two queries would end the process.
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function tryLock(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1) AS taken", [OWNER_LOCK]);
  return rows[0]?.taken === true;
}

const HOLDER = `
  SELECT a.application_name AS name
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1 AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`;

/** Who holds the lock: `grey:<pid>`. */
async function lockHolder(client: Client): Promise<string | undefined> {
  return (await client.query<{ name: string }>(HOLDER, [OWNER_LOCK])).rows[0]?.name;
}

function inUse(place: Place, holder: string | undefined): SettingError {
  const pid = holder?.replace("grey:", "pid ") ?? "it has just ended";
  return new SettingError(`GREY_DATA_DIR: another Grey (${pid}) is using the database in ${place.dir}`);
}

/** The lock, held as long as the signal is not aborted; after a broken connection it is taken again. */
export interface OwnerLock {
  /** Settles once the connection is closed. */
  readonly released: Promise<void>;
}

/**
 * Takes the lock and creates the database `grey` unless it is there.
 * @throws SettingError when another Grey was quicker
 */
export async function takeOwnership(place: Place, port: number, signal: AbortSignal): Promise<OwnerLock> {
  const client = await connect(place, port);
  try {
    if (!(await tryLock(client))) throw inUse(place, await lockHolder(client));
    const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = 'grey'");
    if (rowCount === 0) await client.query("CREATE DATABASE grey");
  } catch (error) {
    await client.end();
    throw error;
  }
  return { released: keepOwnership(client, place, port, signal) };
}

async function keepOwnership(first: Client, place: Place, port: number, signal: AbortSignal): Promise<void> {
  let client: Client | undefined = first;
  while (!signal.aborted) {
    if (client !== undefined) await brokenOrAborted(client, signal);
    await client?.end().catch(() => undefined);
    client = signal.aborted ? undefined : await retake(place, port);
    if (client === undefined) await delay(RETAKE_MS, undefined, { signal }).catch(() => undefined);
  }
  await client?.end().catch(() => undefined);
}

function brokenOrAborted(client: Client, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener("abort", done);
      client.off("end", done);
      resolve();
    };
    signal.addEventListener("abort", done);
    client.on("end", done);
    if (signal.aborted) done();
  });
}

async function retake(place: Place, port: number): Promise<Client | undefined> {
  let client: Client | undefined;
  try {
    client = await connect(place, port);
    if (await tryLock(client)) return client;
  } catch {
    // PostgreSQL is down or starting; the caller tries again.
  }
  await client?.end().catch(() => undefined);
  return undefined;
}

/**
 * Deals with a PostgreSQL that an earlier run left on the data: a pid file is disarmed, a postmaster whose Grey is dead
 * is stopped.
 * @throws SettingError when a living Grey uses the data, or when the postmaster neither answers nor ends
 */
export async function clearFormerRun(
  place: Place,
  onProgress: (message: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + ANSWER_MS_MAX;
  let problem = "";
  for (;;) {
    signal.throwIfAborted();
    const found = await readPidFile(place.clusterDir);
    if (found === undefined) return removeEmptyPidFile(place.clusterDir);
    if (!(await isPostmaster(found.pid, place.clusterDir))) return disarmPidFile(place.clusterDir, found.pid);
    try {
      await stopOrphan(place, found, onProgress);
    } catch (error) {
      if (error instanceof SettingError) throw error;
      problem = error instanceof Error ? error.message : String(error);
    }
    if (Date.now() > deadline) {
      throw new SettingError(
        `GREY_DATA_DIR: PostgreSQL (pid ${found.pid}) runs on ${place.clusterDir} and does not let Grey in: ${problem}`,
      );
    }
    await delay(POLL_MS);
  }
}

/** Stops the postmaster if no living Grey owns it. Fails, without harm, while it starts or shuts down. */
async function stopOrphan(place: Place, found: PidFile, onProgress: (message: string) => void): Promise<void> {
  const client = await connect(place, found.port);
  try {
    const holder = (await lockHolder(client)) ?? (await livingStarter(client));
    if (holder !== undefined) throw inUse(place, holder);
    if (!(await tryLock(client))) throw inUse(place, await lockHolder(client));
    onProgress(`stopping PostgreSQL (pid ${found.pid}), which an earlier Grey left running`);
    await endOrphan(found.pid, place);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Who started the postmaster, if it still lives: `grey:<pid>`. It is about to take the lock, for the first time or after
 * a broken connection. This process itself does not count, as it is the one that asks.
 */
async function livingStarter(client: Client): Promise<string | undefined> {
  const { rows } = await client.query<{ cluster_name: string }>("SHOW cluster_name");
  const starter = rows[0]?.cluster_name.replace("grey:", "") ?? "";
  const pid = Number.parseInt(starter, 10);
  if (!(pid > 0) || pid === process.pid) return undefined;
  return (await identifyProcess(pid)) === starter ? `grey:${pid}` : undefined;
}

async function endOrphan(pid: number, place: Place): Promise<void> {
  for (const [kind, msMax] of [
    ["SIGINT", FAST_MS_MAX],
    ["SIGQUIT", IMMEDIATE_MS_MAX],
  ] as const) {
    process.kill(pid, kind);
    for (const deadline = Date.now() + msMax; Date.now() < deadline; await delay(POLL_MS)) {
      if (!(await isPostmaster(pid, place.clusterDir))) return;
    }
  }
  throw new SettingError(`GREY_DATA_DIR: PostgreSQL (pid ${pid}) on ${place.clusterDir} does not stop; end it by hand`);
}
