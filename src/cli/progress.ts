import { SingleBar } from "cli-progress";

/** Progress on standard error that counts items. */
export interface ItemProgress {
  advance(): void;
  end(): void;
}

/** Shows a bar on a terminal; elsewhere prints one line at the end. */
export function startItemProgress(what: string, total: number): ItemProgress {
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

/** Progress on standard error as a share. */
export interface ProgressBar {
  /** @param share 0 to 1 @param step the current step */
  show(share: number, step: string): void;
  end(): void;
}

/** Shows a bar if standard error is a terminal; otherwise nothing. */
export function startProgressBar(what: string): ProgressBar {
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
