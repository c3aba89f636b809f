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
    const advance = (): void => {
      done += 1;
    };
    return { advance, end: () => console.error(`${what}: ${done} of ${total}`) };
  }
  const bar = createBar(`${what.padEnd(12)} [{bar}] {value}/{total}`);
  bar.start(total, 0);
  return { advance: () => bar.increment(), end: () => bar.stop() };
}

/** How far a piece of work is that is measured elsewhere. */
export interface Gauge {
  /** @param share 0 to 1 @param step what is being done */
  show(share: number, step: string): void;
  end(): void;
}

/** A bar on standard error where that is a terminal, else nothing. */
export function startGauge(what: string): Gauge {
  if (!process.stderr.isTTY) return { show: () => undefined, end: () => undefined };
  const bar = createBar(`${what.padEnd(12)} [{bar}] {percentage}% {step}`);
  bar.start(100, 0, { step: "" });
  return { show: (share, step) => bar.update(Math.floor(share * 100), { step }), end: () => bar.stop() };
}

function createBar(format: string): SingleBar {
  return new SingleBar({
    format,
    barCompleteChar: "=",
    barIncompleteChar: " ",
    barsize: 40,
    hideCursor: true,
    stream: process.stderr,
  });
}
