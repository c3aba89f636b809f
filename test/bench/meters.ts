import { performance } from "node:perf_hooks";
import { cpuSecondsBetween, cpuTimes } from "./cpu-time.js";

/** The resources used between two moments. */
export interface Used {
  readonly seconds: number;
  /** The share of time in which this process's event loop was busy, 0 to 1. */
  readonly busy: number;
  /** CPU seconds of this process (`client`) and the watched ones with their children. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
}

/** Starts measuring the use of this process and others. Returns a function that stops and returns it. */
export function startMeters(watchedPids: Readonly<Record<string, number>>): () => Used {
  const before = Object.entries(watchedPids).map(([name, pid]) => ({ name, pid, times: cpuTimes(pid) }));
  const cpu = process.cpuUsage();
  const loop = performance.eventLoopUtilization();
  const startedMs = performance.now();
  return () => {
    const seconds = (performance.now() - startedMs) / 1_000;
    const busy = performance.eventLoopUtilization(loop).utilization;
    const { user, system } = process.cpuUsage(cpu);
    const cpuSeconds: Record<string, number> = { client: (user + system) / 1e6 };
    for (const { name, pid, times } of before) {
      if (times.size > 0) cpuSeconds[name] = cpuSecondsBetween(times, cpuTimes(pid));
    }
    return { seconds, busy, cpuSeconds };
  };
}
