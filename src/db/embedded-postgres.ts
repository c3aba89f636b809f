import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { SettingError } from "../config/config.js";
import { ensureDatabase } from "./embedded/admin.js";
import { type Binaries, findBinaries } from "./embedded/binaries.js";
import { ensureCluster, readPassword } from "./embedded/cluster.js";
import { isSystemError } from "./embedded/files.js";
import { clearFormerRun } from "./embedded/former-run.js";
import { lockDataDir } from "./embedded/lock.js";
import { findPlace, type Place } from "./embedded/place.js";
import { endPostmaster, startPostmaster, type NotStarted, type Postmaster } from "./embedded/postmaster.js";

const PORT_TRIES_MAX = 10;
/** After a crash, processes of the old postmaster may use its memory a little longer. */
const IN_USE_MS_MAX = 20_000;
const IN_USE_POLL_MS = 100;
const RESTART_MS_MIN = 50;
const RESTART_MS_MAX = 2_000;

/** A PostgreSQL of this process. If it dies, it is restarted on the same port. */
export interface EmbeddedPostgres {
  /** URL of database `grey` as the superuser. */
  readonly ownerUrl: string;
  /** The folder that really contains the data. */
  readonly dataDir: string;
  readonly port: number;
  /** The postmaster's pid, which changes with a restart. */
  readonly pid: number;
  /** Stops it and waits for its end. May be called again with `immediate`, to end it as in a crash. */
  stop(options?: { immediate?: boolean }): Promise<void>;
}

export interface EmbeddedOptions {
  readonly dataDir: string;
  /** 0: any free one. */
  readonly port: number;
  readonly onProgress?: (message: string) => void;
  /** Aborts the start, for example at Ctrl-C during a long recovery. After the start, only `stop` ends PostgreSQL. */
  readonly signal?: AbortSignal;
}

/**
 * Starts the PostgreSQL that comes with Grey on 127.0.0.1, with its data in `dataDir`, which the first start creates.
 * @throws SettingError that names the setting or the path; the signal's reason when the start was aborted
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { dataDir, port, onProgress = () => undefined, signal = new AbortController().signal } = options;
  try {
    const place = await findPlace(dataDir, onProgress);
    const binaries = await findBinaries(place.user, onProgress);
    const unlock = await lockDataDir(place.dir);
    try {
      await ensureCluster(place, binaries, onProgress, signal);
      const launch: Launch = { place, binaries, onProgress };
      const started = await launchOnPort(launch, port, signal);
      return await own(launch, started, signal, unlock);
    } catch (error) {
      await unlock();
      throw error;
    }
  } catch (error) {
    if (isSystemError(error) && error.path !== undefined) throw new SettingError(`GREY_DATA_DIR: ${error.message}`);
    throw error;
  }
}

interface Launch {
  readonly place: Place;
  readonly binaries: Binaries;
  readonly onProgress: (message: string) => void;
}

interface Started {
  readonly postmaster: Postmaster;
  readonly port: number;
}

async function launchOnPort(launch: Launch, port: number, signal: AbortSignal): Promise<Started> {
  const { dir, logFile } = launch.place;
  for (let tries = 1; ; tries += 1) {
    const chosen = port === 0 ? await freePort() : port;
    const result = await launchPostmaster(launch, chosen, signal);
    if ("pid" in result) return { postmaster: result, port: chosen };
    if (result.reason !== "PORT_TAKEN") {
      throw new SettingError(`GREY_DATA_DIR: PostgreSQL does not start in ${dir}: ${result.detail} (see ${logFile})`);
    }
    if (port !== 0 || tries === PORT_TRIES_MAX) {
      throw new SettingError(`GREY_EMBEDDED_PORT: PostgreSQL cannot listen on port ${chosen}: ${result.detail}`);
    }
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

async function launchPostmaster(launch: Launch, port: number, signal: AbortSignal): Promise<Postmaster | NotStarted> {
  const deadline = Date.now() + IN_USE_MS_MAX;
  for (;;) {
    await clearFormerRun(launch.place, launch.onProgress, signal);
    const result = await startPostmaster(launch.place, launch.binaries.nativeDir, port, signal);
    if ("pid" in result || result.reason !== "IN_USE" || Date.now() > deadline) return result;
    await delay(IN_USE_POLL_MS);
  }
}

/** Takes charge of the started postmaster: creates the database, and restarts it if it dies. */
async function own(
  launch: Launch,
  { postmaster: first, port }: Started,
  signal: AbortSignal,
  unlock: () => Promise<void>,
): Promise<EmbeddedPostgres> {
  const { place } = launch;
  const ending = new AbortController();
  let postmaster = first;
  let password: string;
  try {
    signal.throwIfAborted();
    password = await readPassword(place);
    await ensureDatabase(place, port);
  } catch (error) {
    await endPostmaster(postmaster, "fast");
    if (signal.aborted || error instanceof SettingError || !(error instanceof Error)) throw error;
    throw new SettingError(
      `GREY_DATA_DIR: PostgreSQL started in ${place.dir} and did not let Grey in: ${error.message}`,
    );
  }

  async function watch(): Promise<void> {
    for (;;) {
      const how = await postmaster.ended;
      if (ending.signal.aborted) return;
      launch.onProgress(`PostgreSQL ended unexpectedly (${how}); starting it again on port ${port}`);
      const next = await restart(launch, port, ending.signal);
      if (next === undefined) return;
      postmaster = next;
      if (ending.signal.aborted) return endPostmaster(postmaster, "fast");
      launch.onProgress(`PostgreSQL is back on port ${port}`);
    }
  }
  const watching = watch();

  return {
    ownerUrl: `postgres://postgres:${password}@127.0.0.1:${port}/grey`,
    dataDir: place.dir,
    port,
    get pid() {
      return postmaster.pid;
    },
    async stop({ immediate = false } = {}) {
      ending.abort();
      await Promise.all([endPostmaster(postmaster, immediate ? "immediate" : "fast"), watching]);
      await unlock();
    },
  };
}

/** Tries until PostgreSQL is up; returns undefined when the signal aborts. */
async function restart(launch: Launch, port: number, signal: AbortSignal): Promise<Postmaster | undefined> {
  let reported = "";
  for (let waitMs = RESTART_MS_MIN; !signal.aborted; waitMs = Math.min(waitMs * 2, RESTART_MS_MAX)) {
    let problem: string;
    try {
      const result = await launchPostmaster(launch, port, signal);
      if ("pid" in result) return result;
      problem = result.detail;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (signal.aborted) return undefined;
    if (problem !== reported) launch.onProgress(`PostgreSQL does not start: ${problem}`);
    reported = problem;
    await delay(waitMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}
