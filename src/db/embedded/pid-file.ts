import { open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isSystemError, readIfThere } from "./files.js";
import { isAlive, runAs } from "./user.js";

/** The content of `postmaster.pid`. Source: PostgreSQL, src/include/utils/pidfile.h */
export interface PidFile {
  readonly pid: number;
  readonly port: number;
  readonly status: string;
}

const EMPTY_MS_MAX = 1_000;

/** Reads the pid file; undefined if there is none, or if its postmaster is only starting. */
export async function readPidFile(clusterDir: string): Promise<PidFile | undefined> {
  const lines = (await readIfThere(join(clusterDir, "postmaster.pid")))?.split("\n");
  const pid = Number(lines?.[0]);
  if (lines === undefined || !Number.isInteger(pid) || pid < 1) return undefined;
  return { pid, port: Number(lines[3] ?? 0), status: (lines[7] ?? "").trim() };
}

/**
 * Returns true if the process is the cluster's postmaster: not a zombie, and not another program with the same pid. On Linux this
 * is certain, since a postmaster's current folder is its cluster.
 */
export async function isPostmaster(pid: number, clusterDir: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  if (process.platform !== "linux") {
    return (await runAs({}, "ps", ["-p", `${pid}`, "-o", "comm="])).stdout.includes("postgres");
  }
  try {
    const [name, current, cluster] = await Promise.all([
      readFile(`/proc/${pid}/comm`, "utf8"),
      stat(`/proc/${pid}/cwd`),
      stat(clusterDir),
    ]);
    return name.trim() === "postgres" && current.ino === cluster.ino && current.dev === cluster.dev;
  } catch (error) {
    // A process without access belongs to another user than the cluster.
    if (isSystemError(error, "ENOENT", "ESRCH", "EACCES", "EPERM")) return false;
    throw error;
  }
}

/**
 * Keeps a pid file that a crash left behind from blocking the next postmaster. PostgreSQL considers the file live if any process
 * has its pid, except the postmaster's parent; so the parent's pid is written into it. PostgreSQL still checks that the shared
 * memory which the file names is unused.
 */
export async function disarmPidFile(clusterDir: string, stalePid: number): Promise<void> {
  if (!isAlive(stalePid)) return;
  const file = await open(join(clusterDir, "postmaster.pid"), "r+").catch(ignoreMissing);
  if (file === undefined) return;
  try {
    // A postmaster that starts meanwhile creates a new file, which this write does not reach.
    const text = await file.readFile("utf8");
    if (Number.parseInt(text, 10) !== stalePid) return;
    await file.truncate();
    await file.write(text.replace(/^\d+/, `${process.pid}`), 0);
  } finally {
    await file.close();
  }
}

/** Removes a pid file that stays empty, as a machine crash may leave it: PostgreSQL would not start with it. */
export async function removeEmptyPidFile(clusterDir: string): Promise<void> {
  const path = join(clusterDir, "postmaster.pid");
  for (const deadline = Date.now() + EMPTY_MS_MAX; (await readIfThere(path)) === ""; await delay(20)) {
    if (Date.now() > deadline) return rm(path, { force: true });
  }
}

function ignoreMissing(error: unknown): undefined {
  if (!isSystemError(error, "ENOENT")) throw error;
}
