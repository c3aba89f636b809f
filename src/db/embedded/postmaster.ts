import { spawn, type ChildProcess } from "node:child_process";
import { open, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { giveTo, isSystemError } from "./files.js";
import { readPidFile } from "./pid-file.js";
import type { Place } from "./place.js";
import { CHILD_ENVIRONMENT, identifyProcess } from "./user.js";

const LOG_BYTES_MAX = 10 * 1024 * 1024;
const LOG_EXCERPT_BYTES_MAX = 64 * 1024;
const READY_POLL_MS = 10;
/** The time limits of a shutdown before the next, harder one. Crash recovery does the rest at the next start. */
const FAST_MS_MAX = 30_000;
const IMMEDIATE_MS_MAX = 10_000;

/** PostgreSQL's parent process, which is a child of this process. */
export interface Postmaster {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Resolves with a description of how it ended; never rejects. */
  readonly ended: Promise<string>;
}

/** The reason why a postmaster did not start. */
export interface NotStarted {
  readonly reason: "PORT_TAKEN" | "IN_USE" | "OTHER";
  readonly detail: string;
}

/**
 * Starts PostgreSQL in its own session, where a terminal's Ctrl-C does not reach it, and waits until it accepts connections.
 * Crash recovery has no time limit; the signal aborts it.
 */
export async function startPostmaster(
  place: Place,
  nativeDir: string,
  port: number,
  signal: AbortSignal,
): Promise<Postmaster | NotStarted> {
  signal.throwIfAborted();
  const starter = `grey:${await identifyProcess(process.pid)}`;
  await rotateLog(place.logFile);
  const log = await open(place.logFile, "a", 0o600);
  let logStart: number;
  let child: ChildProcess;
  try {
    await giveTo(place.logFile, place.user);
    logStart = (await log.stat()).size;
    child = spawn(join(nativeDir, "bin", "postgres"), serverArguments(place.clusterDir, port, starter), {
      ...place.user,
      cwd: "/",
      env: CHILD_ENVIRONMENT,
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
  // PostgreSQL does not outlive this process, unless this process is killed.
  const endAtExit = (): boolean => child.kill("SIGQUIT");
  process.once("exit", endAtExit);
  const state = { hasEnded: false };
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, killedBy) => resolve(killedBy ?? `exit status ${code}`));
  }).then((how) => {
    process.off("exit", endAtExit);
    state.hasEnded = true;
    return how;
  });
  const postmaster: Postmaster = { pid: child.pid ?? 0, child, ended };
  try {
    while (!state.hasEnded) {
      signal.throwIfAborted();
      const file = await readPidFile(place.clusterDir);
      if (file?.pid === child.pid && file?.status === "ready") return postmaster;
      await delay(READY_POLL_MS);
    }
  } catch (error) {
    await endPostmaster(postmaster, "fast");
    throw error;
  }
  return notStarted(await ended, await readFrom(place.logFile, logStart));
}

/** Returns the arguments with the settings that the ledger depends on, which postgresql.conf cannot override. */
function serverArguments(clusterDir: string, port: number, starter: string): readonly string[] {
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    // Identifies the starter to a later Grey that finds this postmaster running.
    cluster_name: starter,
    fsync: "on",
    full_page_writes: "on",
    synchronous_commit: "on",
    logging_collector: "off",
    log_destination: "stderr",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", clusterDir, "-p", `${port}`, ...options];
}

function notStarted(how: string, log: string): NotStarted {
  const bind = /could not bind IPv4 address .*/.exec(log)?.[0];
  if (bind !== undefined) return { reason: "PORT_TAKEN", detail: bind };
  const fatal = log.split("\n").filter((line) => /(FATAL|PANIC):|^postgres: /.test(line));
  const detail = (fatal.length > 0 ? fatal.join("; ") : log.trim()) || how;
  const isInUse = /lock file ".*" (already exists|is empty)|pre-existing shared memory block/.test(log);
  return { reason: isInUse ? "IN_USE" : "OTHER", detail };
}

async function rotateLog(logFile: string): Promise<void> {
  try {
    if ((await stat(logFile)).size > LOG_BYTES_MAX) await rename(logFile, `${logFile}.1`);
  } catch (error) {
    if (!isSystemError(error, "ENOENT")) throw error;
  }
}

async function readFrom(path: string, position: number): Promise<string> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(LOG_EXCERPT_BYTES_MAX),
      0,
      LOG_EXCERPT_BYTES_MAX,
      position,
    );
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Ends the postmaster and waits for it. Fast: open transactions roll back and everything is flushed; immediate: as in a crash. */
export async function endPostmaster(postmaster: Postmaster, how: "fast" | "immediate"): Promise<void> {
  postmaster.child.kill(how === "fast" ? "SIGINT" : "SIGQUIT");
  const fastMs = how === "fast" ? FAST_MS_MAX : 0;
  const timers = [
    setTimeout(() => postmaster.child.kill("SIGQUIT"), fastMs),
    setTimeout(() => postmaster.child.kill("SIGKILL"), fastMs + IMMEDIATE_MS_MAX),
  ];
  await postmaster.ended;
  for (const timer of timers) clearTimeout(timer);
}
