/** Progress on standard error. */
export class Progress {
  readonly #startedMs = performance.now();
  #total = 0;
  #done = 0;

  /** Sets the number of steps. */
  expect(steps: number): void {
    this.#total = steps;
  }

  /** Reports something outside the counted steps. */
  say(text: string): void {
    console.error(`${this.#clock()}  ${text}`);
  }

  /** Reports a completed step. */
  step(text: string): void {
    this.#done += 1;
    const width = String(this.#total).length;
    console.error(`${this.#clock()}  ${String(this.#done).padStart(width)}/${this.#total}  ${text}`);
  }

  #clock(): string {
    const seconds = Math.floor((performance.now() - this.#startedMs) / 1_000);
    return `${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}
