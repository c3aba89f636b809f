import { spawn, type ChildProcess } from "node:child_process";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { connect } from "node:http2";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { HealthCheckResponse, HealthCheckResponse_ServingStatus } from "../../generated/grpc/health/v1/health.js";
import { PROJECT_DIR } from "../../src/config/config.js";
import type { Cleanup } from "./cleanup.js";
import { FRAME_HEADER_BYTES, encodeFrame } from "./frames.js";

const READY_MS_MAX = 60_000;
const READY_POLL_MS = 50;
const LOG_TAIL_CHARS = 2_000;

/** `grey serve` in a separate process, as in production. */
export interface ServerProcess {
  readonly address: string;
  readonly pid: number;
  /** Returns the resident memory. */
  rssBytes(): number;
  /** Stops it with SIGTERM. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly name: string;
  readonly databaseUrl: string;
  /** The folder for its log. */
  readonly folder: string;
  /** Settings that override the defaults. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A log line that it is ready after, if it is not ready once it serves. */
  readonly readyLine?: string;
  /** The folder for a CPU profile, written on exit. */
  readonly profileDir?: string | undefined;
}

/** Starts the server and waits until it is SERVING. */
export async function startServerProcess(cleanup: Cleanup, options: ServerOptions): Promise<ServerProcess> {
  const { name, databaseUrl, folder, settings = {}, profileDir, readyLine = "" } = options;
  const port = await freePort();
  const logFile = join(folder, `${name}.log`);
  const log = await open(logFile, "w");
  const inherited = Object.entries(process.env).filter(([variable]) => !/^(GREY_|OTEL_|NODE_OPTIONS$)/.test(variable));
  if (profileDir !== undefined) await mkdir(profileDir, { recursive: true });
  const child = spawn(
    process.execPath,
    [
      // Like `npm start` and `grey serve`.
      "--max-semi-space-size=32",
      ...(profileDir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDir}`]),
      join(PROJECT_DIR, "bin/grey.js"),
      "serve",
    ],
    {
      env: { ...Object.fromEntries(inherited), DATABASE_URL: databaseUrl, GREY_PORT: String(port), ...settings },
      // Ctrl-C goes to the benchmark, which then stops the server.
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    },
  );
  await log.close();
  const drop = cleanup.add(() => end(child, logFile));
  const address = `127.0.0.1:${port}`;
  await waitUntilServing(child, address, name, { file: logFile, readyLine });
  const pid = child.pid ?? 0;
  return {
    address,
    pid,
    rssBytes: () => readRssBytes(pid),
    stop: async () => {
      await end(child, logFile);
      drop();
    },
  };
}

async function end(child: ChildProcess, logFile: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), 20_000);
    await ended;
    clearTimeout(killer);
  }
  await rm(logFile, { force: true });
}

async function waitUntilServing(
  child: ChildProcess,
  address: string,
  name: string,
  { file, readyLine }: { readonly file: string; readonly readyLine: string },
): Promise<void> {
  const deadline = Date.now() + READY_MS_MAX;
  while (!(await isServing(address)) || !(await readFile(file, "utf8")).includes(readyLine)) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      const tail = (await readFile(file, "utf8")).slice(-LOG_TAIL_CHARS);
      throw new Error(`the server ${name} does not serve:\n${tail}`);
    }
    await delay(READY_POLL_MS);
  }
}

/** Returns true if the server is SERVING. */
async function isServing(address: string): Promise<boolean> {
  const reply = await callOnce(address, "/grpc.health.v1.Health/Check", Buffer.alloc(0)).catch(() => undefined);
  return reply !== undefined && HealthCheckResponse.decode(reply).status === HealthCheckResponse_ServingStatus.SERVING;
}

/** Makes one call on a separate connection and returns the reply's message; throws if there is none. */
function callOnce(address: string, path: string, message: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const session = connect(`http://${address}`);
    session.once("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      session.destroy();
      const body = Buffer.concat(chunks);
      if (body.length < FRAME_HEADER_BYTES) reject(new Error(`${path} has no answer`));
      else resolve(body.subarray(FRAME_HEADER_BYTES));
    });
    stream.end(encodeFrame(message));
  });
}

/** Finds a free port of this machine. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function readRssBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) * 1_024;
  } catch {
    // No /proc on this system.
  }
  return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" })) * 1_024;
}
