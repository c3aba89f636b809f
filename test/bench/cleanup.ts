/** What was started and must be ended, last first. */
export class Cleanup {
  readonly #actions = new Set<() => Promise<void>>();
  #running: Promise<void> | undefined;

  /**
   * Adds what ends a thing. Returns a function that takes it back, for when the thing has ended. What comes while
   * everything is being ended is ended at once.
   */
  add(action: () => Promise<void>): () => void {
    if (this.#running === undefined) this.#actions.add(action);
    else this.#running = Promise.all([this.#running, attempt(action)]).then(() => undefined);
    return () => this.#actions.delete(action);
  }

  /** Whether everything is being ended. */
  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Ends everything, once, and tells of what cannot be ended. */
  run(): Promise<void> {
    this.#running ??= this.#runAll();
    return this.#running;
  }

  async #runAll(): Promise<void> {
    for (const action of [...this.#actions].toReversed()) await attempt(action);
  }
}

async function attempt(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    console.error(`could not clean up: ${String(error)}`);
  }
}
