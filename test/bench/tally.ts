import { LatencyHistogram } from "./latency.js";
import type { LoadResult } from "./load-plan.js";
import type { Used } from "./meters.js";

/** Counts the requests and replies of a load, in the window and in total. */
export class Tally {
  readonly #latency = new LatencyHistogram();
  readonly #windowStatuses = new Map<string, number>();
  readonly #totalStatuses = new Map<string, number>();
  #isMeasuring = false;
  #sent = 0;
  #ok = 0;
  #sentInWindow = 0;
  #okInWindow = 0;

  openWindow(): void {
    this.#isMeasuring = true;
  }

  closeWindow(): void {
    this.#isMeasuring = false;
  }

  sent(transfers: number): void {
    this.#sent += transfers;
    if (this.#isMeasuring) this.#sentInWindow += transfers;
  }

  /** @param ok the number of transfers posted, or reads answered, by the reply */
  answered(status: string, ok: number, startedMs: number): void {
    this.#ok += ok;
    increment(this.#totalStatuses, status);
    if (!this.#isMeasuring) return;
    this.#okInWindow += ok;
    increment(this.#windowStatuses, status);
    if (ok > 0) this.#latency.record((performance.now() - startedMs) * 1_000);
  }

  result(used: Used): Omit<LoadResult, "okIds" | "refusedIds"> {
    return {
      windowSeconds: used.seconds,
      okPerSecond: this.#okInWindow / used.seconds,
      offeredPerSecond: this.#sentInWindow / used.seconds,
      latencyUs: this.#latency.summary(),
      statuses: Object.fromEntries(this.#windowStatuses),
      total: { sent: this.#sent, ok: this.#ok, statuses: Object.fromEntries(this.#totalStatuses) },
      cpuSeconds: used.cpuSeconds,
      clientBusy: used.busy,
    };
  }
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
