import { execFile, spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { PROJECT_DIR } from "../../src/config/config.js";

const PROGRAM = join(PROJECT_DIR, "bin/grey.js");

/** The end of a process. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** `grey serve` in a separate process. */
export interface GreyProcess {
  readonly pid: number;
  /** Returns its parsed log lines so far. */
  readonly logs: readonly Record<string, unknown>[];
  readonly ended: Promise<Ending>;
  /** Returns its standard output so far. */
  text(): string;
  signal(signal: NodeJS.Signals): void;
  /** Waits for the first log line with this message; rejects if the process ends before. */
  line(message: string): Promise<Record<string, unknown>>;
}

const LINE_MS_MAX = 45_000;
const running = new Set<ChildProcess>();

/** Starts `grey serve` with these settings, without GREY_, OTEL_ and DATABASE_URL variables of the tests' environment. */
export function spawnGrey(settings: Readonly<Record<string, string>>): GreyProcess {
  const child = spawn(process.execPath, [PROGRAM, "serve"], {
    env: environment({ GREY_LOG_FORMAT: "json", GREY_PORT: "0", ...settings }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const logs: Record<string, unknown>[] = [];
  let out = "";
  let err = "";
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (settings.GREY_LOG_FORMAT === "pretty") return;
    for (const line of lines) if (line !== "") logs.push(JSON.parse(line) as Record<string, unknown>);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = new Promise<Ending>((resolve) => {
    child.on("close", (code, signal) => {
      running.delete(child);
      resolve({ code, signal, out, err });
    });
  });
  return {
    pid: child.pid!,
    logs,
    ended,
    text: () => out,
    signal: (signal) => child.kill(signal),
    line: async (message) => {
      let found: Record<string, unknown> | undefined;
      await eventually(
        `the log line "${message}"`,
        () => {
          found = logs.find((line) => line.message === message);
          if (found === undefined && !running.has(child))
            throw new Error(`grey ended before "${message}": ${err}${out}`);
          return found !== undefined;
        },
        LINE_MS_MAX,
      );
      return found!;
    },
  };
}

/** Starts `grey serve` and returns it with its address once it serves. */
export async function startGreyProcess(
  settings: Readonly<Record<string, string>>,
): Promise<GreyProcess & { readonly address: string }> {
  const grey = spawnGrey(settings);
  const { address } = await grey.line("serving");
  return { ...grey, address: String(address) };
}

/** Runs `grey serve` with settings that it must reject, to its end. */
export function runGrey(settings: Readonly<Record<string, string>>): Promise<Ending> {
  const grey = spawnGrey(settings);
  const timer = setTimeout(() => grey.signal("SIGKILL"), LINE_MS_MAX);
  return grey.ended.finally(() => clearTimeout(timer));
}

/** Ends processes that a failed test left running, and their descendants. */
export async function endAllGrey(): Promise<void> {
  for (const child of running) {
    const family = [child.pid!, ...(await listDescendants(child.pid!))];
    for (const pid of family) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  }
}

function environment(settings: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(GREY_|OTEL_|DATABASE_URL$|NODE_)/.test(name));
  return { ...Object.fromEntries(inherited), ...settings };
}

/** Creates a folder that every user can enter: for root, PostgreSQL runs as another user. */
export async function makeFolder(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "grey-test-"));
  await chmod(path, 0o755);
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** Lists the descendants of a process. */
export async function listDescendants(pid: number): Promise<number[]> {
  const table = await new Promise<string>((resolve, reject) => {
    execFile("ps", ["-A", "-o", "pid=,ppid="], (error, text) => (error === null ? resolve(text) : reject(error)));
  });
  const children = new Map<number, number[]>();
  for (const line of table.trim().split("\n")) {
    const [child = 0, parent = 0] = line.trim().split(/\s+/).map(Number);
    children.set(parent, [...(children.get(parent) ?? []), child]);
  }
  const all = (parent: number): number[] => (children.get(parent) ?? []).flatMap((child) => [child, ...all(child)]);
  return all(pid);
}

/** Returns the postmaster's pid of the embedded PostgreSQL in this data folder. */
export async function postmasterPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8"), 10);
}

/** Returns true if the process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  if (process.platform !== "linux") return true;
  try {
    const [, state = ""] = /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return !"ZX".includes(state);
  } catch {
    return false;
  }
}

const POLL_MS = 10;

/** Polls until the condition holds. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; !(await condition()); await delay(POLL_MS)) {
    if (Date.now() > deadline) throw new Error(`${what} did not come about within ${timeoutMs} ms`);
  }
}

/** Finds a free port of 127.0.0.1. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** A route to a database that can be cut and restored, and that records its traffic. */
export interface Route {
  /** The database's URL by this route. */
  readonly url: string;
  /** Returns true if this text was sent to the database. */
  hasCarried(text: string): boolean;
  open(): Promise<void>;
  /** Breaks all connections and refuses new ones. */
  cut(): Promise<void>;
  /** Drops all data from now on, but keeps connections open. */
  silence(): void;
}

/** Creates a route to the database of the URL, which is cut until opened. */
export async function createRoute(databaseUrl: string): Promise<Route> {
  const target = new URL(databaseUrl);
  const port = await freePort();
  const sockets = new Set<Socket>();
  const carried: Buffer[] = [];
  let isSilent = false;
  // While data is dropped, the end of one side is not forwarded to the other.
  const server = createServer({ allowHalfOpen: true }, (inward) => {
    const outward = connectTcp(Number(target.port), target.hostname);
    inward.on("end", () => {
      if (!isSilent) outward.end();
    });
    outward.on("end", () => {
      if (!isSilent) inward.end();
    });
    for (const socket of [inward, outward]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => sockets.delete(socket));
    }
    inward.on("data", (chunk: Buffer) => {
      carried.push(chunk);
      if (!isSilent) outward.write(chunk);
    });
    outward.on("data", (chunk: Buffer) => {
      if (!isSilent) inward.write(chunk);
    });
    inward.on("close", () => outward.destroy());
    outward.on("close", () => {
      if (!isSilent) inward.destroy();
    });
  });
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = `${port}`;
  return {
    url: url.href,
    hasCarried: (text) => Buffer.concat(carried).includes(text),
    open: () => new Promise((resolve) => server.listen(port, "127.0.0.1", resolve)),
    silence: () => {
      isSilent = true;
    },
    cut: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        if (server.listening) server.close(() => resolve());
        else resolve();
      }),
  };
}
