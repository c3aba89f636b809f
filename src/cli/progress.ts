import { SingleBar } from "cli-progress";

/** How far a piece of work is, on standard error. */
export interface Progress {
  advance(): void;
  end(): void;
}

/** A bar on a terminal, else one line at the end. */
export function startProgress(what: string, total: number): Progress {
  if (!process.stderr.isTTY) {
    let done = 0;
    return { advance: () => void done++, end: () => console.error(`${what}: ${done} of ${total}`) };
  }
  const bar = new SingleBar({
    format: `${what.padEnd(12)} [{bar}] {value}/{total}`,
    barCompleteChar: "=",
    barIncompleteChar: " ",
    barsize: 40,
    hideCursor: true,
    stream: process.stderr,
  });
  bar.start(total, 0);
  return { advance: () => bar.increment(), end: () => bar.stop() };
}
