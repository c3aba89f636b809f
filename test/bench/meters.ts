import { performance } from "node:perf_hooks";
import { cpuSeconds } from "./cpu-time.js";

/** What was used between two moments. */
export interface Used {
  readonly seconds: number;
  /** Share of the time in which this process's event loop was busy, 0 to 1. */
  readonly busy: number;
  /** CPU seconds of this process (`client`) and of the watched ones. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
}

/** Begins to measure what this process and others use. Returns a function that ends it. */
export function startMeters(watchedPids: Readonly<Record<string, number>>): () => Used {
  const before = read(watchedPids);
  return () => {
    const after = read(watchedPids);
    const cpu = Object.entries(after.cpu).map(
      ([name, seconds]) => [name, seconds - (before.cpu[name] ?? seconds)] as const,
    );
    return {
      seconds: (after.atMs - before.atMs) / 1_000,
      busy: performance.eventLoopUtilization(after.loop, before.loop).utilization,
      cpuSeconds: Object.fromEntries(cpu),
    };
  };
}

function read(watchedPids: Readonly<Record<string, number>>) {
  const own = process.cpuUsage();
  const cpu: Record<string, number> = { client: (own.user + own.system) / 1e6 };
  for (const [name, pid] of Object.entries(watchedPids)) {
    const seconds = cpuSeconds(pid);
    if (seconds !== undefined) cpu[name] = seconds;
  }
  return { atMs: performance.now(), loop: performance.eventLoopUtilization(), cpu };
}
