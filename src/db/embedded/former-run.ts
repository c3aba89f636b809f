import { setTimeout as delay } from "node:timers/promises";
import { SettingError } from "../../config/config.js";
import { connectAsAdmin } from "./admin.js";
import { inUseError, isHolderAlive } from "./lock.js";
import { disarmPidFile, isPostmaster, readPidFile, removeEmptyPidFile, type PidFile } from "./pid-file.js";
import type { Place } from "./place.js";
import { identifyProcess } from "./user.js";

const POLL_MS = 50;
const ANSWER_MS_MAX = 60_000;
const FAST_MS_MAX = 30_000;
const IMMEDIATE_MS_MAX = 10_000;

/**
 * Clears what an earlier run left in the data folder, which this process has locked: disarms a pid file, and stops a postmaster
 * whose Grey is dead.
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

/** Stops the postmaster. Fails, without harm, while it starts or shuts down. */
async function stopOrphan(place: Place, found: PidFile, onProgress: (message: string) => void): Promise<void> {
  const starter = await findStarter(place, found.port);
  // Another Grey can be alive here only if somebody removed its lock by hand.
  if (starter !== (await identifyProcess(process.pid)) && (await isHolderAlive(starter)))
    throw inUseError(place.dir, starter);
  onProgress(`stopping PostgreSQL (pid ${found.pid}), which an earlier Grey left running`);
  await endOrphan(found.pid, place);
}

/** Returns the process that started the postmaster, as that process identified itself. */
async function findStarter(place: Place, port: number): Promise<string> {
  const client = await connectAsAdmin(place, port);
  try {
    const { rows } = await client.query<{ cluster_name: string }>("SHOW cluster_name");
    return rows[0]?.cluster_name.replace("grey:", "") ?? "";
  } finally {
    await client.end().catch(() => undefined);
  }
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
