import { describeError, type Logger } from "../telemetry/logger.js";

/** The stops of everything that was started. What was started last is stopped first. */
export class StopStack {
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  push(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  /** Stops one after the other. A stop that fails is logged and does not keep the others from stopping. */
  async stopAll(): Promise<void> {
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) {
      await stop().catch((error: unknown) => this.#logger.warn("could not stop", describeError(error)));
    }
  }
}
