import { readdirSync, readFileSync } from "node:fs";

// Linux counts CPU time in ticks of 10 ms (USER_HZ), whatever the kernel's own.
const SECONDS_PER_TICK = 0.01;
const STAT_FIELD = { PARENT: 1, USER: 11, SYSTEM: 12 } as const;

/** CPU seconds that the process and its living children have used; undefined where there is no /proc. */
export function cpuSeconds(pid: number): number | undefined {
  const own = readStat(pid);
  if (own === undefined) return undefined;
  let seconds = own.seconds;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat?.parent === pid) seconds += stat.seconds;
  }
  return seconds;
}

function readStat(pid: number): { readonly parent: number; readonly seconds: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    // It has ended, or the system has no /proc.
    return undefined;
  }
  // The name of the program stands in parentheses and may hold blanks; the fields are counted after it.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    parent: Number(fields[STAT_FIELD.PARENT]),
    seconds: (Number(fields[STAT_FIELD.USER]) + Number(fields[STAT_FIELD.SYSTEM])) * SECONDS_PER_TICK,
  };
}
