import { readdirSync, readFileSync } from "node:fs";

// Linux reports CPU time in ticks of 10 ms (USER_HZ), independent of the kernel's own.
const SECONDS_PER_TICK = 0.01;
const STAT_FIELD = { PARENT: 1, USER: 11, SYSTEM: 12 } as const;

/** CPU seconds used, by pid. */
export type CpuTimes = ReadonlyMap<number, number>;

/** Reads the CPU time of a process and its living children; empty without /proc. */
export function cpuTimes(pid: number): CpuTimes {
  const times = new Map<number, number>();
  const own = readStat(pid);
  if (own === undefined) return times;
  times.set(pid, own.seconds);
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat?.parent === pid) times.set(Number(name), stat.seconds);
  }
  return times;
}

/** Returns the CPU time used in between by processes that still exist. */
export function cpuSecondsBetween(before: CpuTimes, after: CpuTimes): number {
  return [...after].reduce((sum, [pid, seconds]) => sum + seconds - (before.get(pid) ?? 0), 0);
}

function readStat(pid: number): { readonly parent: number; readonly seconds: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    // The process has ended, or there is no /proc.
    return undefined;
  }
  // The program name is in parentheses and may contain blanks; fields are counted after it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    parent: Number(fields[STAT_FIELD.PARENT]),
    seconds: (Number(fields[STAT_FIELD.USER]) + Number(fields[STAT_FIELD.SYSTEM])) * SECONDS_PER_TICK,
  };
}
