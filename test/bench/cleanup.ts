/** Resources to release, in reverse order. */
export class Cleanup {
  readonly #actions = new Set<() => Promise<void>>();
  #running: Promise<void> | undefined;

  /**
   * Registers a function that releases a resource. Returns a function that unregisters it. During cleanup, the resource is
   * released at once.
   */
  add(action: () => Promise<void>): () => void {
    if (this.#running === undefined) this.#actions.add(action);
    else this.#running = Promise.all([this.#running, attempt(action)]).then(() => undefined);
    return () => this.#actions.delete(action);
  }

  /** True once cleanup has begun. */
  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Releases everything, once, and reports failures. */
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
