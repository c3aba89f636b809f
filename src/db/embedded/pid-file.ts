import { open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isSystemError, readIfThere } from "./files.js";
import { isAlive, runAs } from "./user.js";

/** What `postmaster.pid` says. Source: PostgreSQL, src/include/utils/pidfile.h */
export interface PidFile {
  readonly pid: number;
  readonly port: number;
  readonly status: string;
}

const EMPTY_MS_MAX = 1_000;

/** The pid file, or undefined if there is none or its postmaster is only being born. */
export async function readPidFile(clusterDir: string): Promise<PidFile | undefined> {
  const lines = (await readIfThere(join(clusterDir, "postmaster.pid")))?.split("\n");
  const pid = Number(lines?.[0]);
  if (lines === undefined || !Number.isInteger(pid) || pid < 1) return undefined;
  return { pid, port: Number(lines[3] ?? 0), status: (lines[7] ?? "").trim() };
}

/**
 * Whether the process is the cluster's postmaster: not a zombie, and not another program that got the same id later.
 * On Linux that is certain, since a postmaster's current folder is its cluster.
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
    // A process that may not be looked at belongs to another user than the cluster.
    if (isSystemError(error, "ENOENT", "ESRCH", "EACCES", "EPERM")) return false;
    throw error;
  }
}

/**
 * Keeps a pid file left by a crash from stopping the next postmaster. PostgreSQL takes the file as live if any process
 * has that id, but never if it is the id of the postmaster's parent; so that id is written into it. PostgreSQL still
 * checks that nobody uses the shared memory that the file names.
 */
export async function disarmPidFile(clusterDir: string, stalePid: number): Promise<void> {
  if (!isAlive(stalePid)) return;
  const file = await open(join(clusterDir, "postmaster.pid"), "r+").catch(ignoreMissing);
  if (file === undefined) return;
  try {
    // A postmaster that starts meanwhile makes a new file; what is written here does not reach that one.
    const text = await file.readFile("utf8");
    if (Number.parseInt(text, 10) !== stalePid) return;
    await file.truncate();
    await file.write(text.replace(/^\d+/, `${process.pid}`), 0);
  } finally {
    await file.close();
  }
}

/** Removes a pid file that stays empty, as a crash of the machine may leave it: PostgreSQL would not start on it. */
export async function removeEmptyPidFile(clusterDir: string): Promise<void> {
  const path = join(clusterDir, "postmaster.pid");
  for (const deadline = Date.now() + EMPTY_MS_MAX; (await readIfThere(path)) === ""; await delay(20)) {
    if (Date.now() > deadline) return rm(path, { force: true });
  }
}

function ignoreMissing(error: unknown): undefined {
  if (!isSystemError(error, "ENOENT")) throw error;
}
