import { setTimeout as delay } from "node:timers/promises";
import { openConnections } from "./connections.js";
import { BROKEN, openLines, openRawLines, type Line } from "./lines.js";
import type { LoadPlan, LoadResult } from "./load-plan.js";
import { startMeters } from "./meters.js";
import { offerStreams } from "./stream-load.js";
import { Tally } from "./tally.js";
import { makeCalls, type Call, type CallMaker } from "./work.js";

const GIVE_UP_AFTER_DEADLINE_MS = 1_000;
const SWEEP_EVERY_MS = 250;
const RECONNECT_AFTER_MS = 100;

/** Runs the plan's load and returns the result, after all calls have ended. */
export async function offerLoad(plan: LoadPlan): Promise<LoadResult> {
  const { work, addresses, inFlight, deadlineMs } = plan;
  if (work.kind === "stream") {
    const connections = await openConnections(addresses, inFlight);
    try {
      return await offerStreams(plan, work, connections);
    } finally {
      for (const connection of connections) connection.close();
    }
  }
  const calls = makeCalls(work);
  const open = calls.countPosted === undefined ? openRawLines : openLines;
  const lines = await open(addresses, calls.path, deadlineMs, inFlight);
  try {
    return await new CallLoad(plan, calls, lines).run();
  } finally {
    for (const line of lines) line.close();
  }
}

/** A call in flight. */
interface Pending {
  readonly call: Call;
  readonly line: Line;
  readonly startedMs: number;
  cancel: () => void;
}

/** The plan's callers, each of which starts its next call after the previous one. */
class CallLoad {
  readonly #plan: LoadPlan;
  readonly #calls: CallMaker;
  readonly #lines: readonly Line[];
  readonly #tally = new Tally();
  /** In the order of their start. */
  readonly #pending = new Set<Pending>();
  readonly #okIds: string[] = [];
  readonly #refusedIds: string[] = [];
  #isEnding = false;
  #whenIdle: () => void = () => undefined;

  constructor(plan: LoadPlan, calls: CallMaker, lines: readonly Line[]) {
    this.#plan = plan;
    this.#calls = calls;
    this.#lines = lines;
  }

  async run(): Promise<LoadResult> {
    const { inFlight, warmupMs, measureMs, watchedPids } = this.#plan;
    const sweep = setInterval(() => this.#giveUpOld(), SWEEP_EVERY_MS);
    for (let caller = 0; caller < inFlight; caller += 1) this.#begin(this.#lines[caller % this.#lines.length]!);
    await delay(warmupMs);
    const endMeters = startMeters(watchedPids);
    this.#tally.openWindow();
    await delay(measureMs);
    this.#tally.closeWindow();
    const used = endMeters();
    this.#isEnding = true;
    await this.#idle();
    clearInterval(sweep);
    return { ...this.#tally.result(used), okIds: this.#okIds, refusedIds: this.#refusedIds };
  }

  #begin(line: Line): void {
    const call = this.#calls.next();
    const pending: Pending = { call, line, startedMs: performance.now(), cancel: () => undefined };
    this.#pending.add(pending);
    this.#tally.sent(this.#calls.perCall);
    pending.cancel = line.begin(call.frame, (status, answer, pushbackMs) => {
      const posted = answer === undefined ? 1 : (this.#calls.countPosted?.(answer) ?? 1);
      this.#end(pending, status, status === "OK" ? posted : 0, pushbackMs);
    });
  }

  #end(pending: Pending, status: string, ok: number, pushbackMs?: number): void {
    this.#pending.delete(pending);
    this.#tally.answered(status, ok, pending.startedMs);
    const isRefused = status === "RESOURCE_EXHAUSTED";
    if (this.#plan.keepsIds && status === "OK") this.#okIds.push(...pending.call.requestIds());
    if (this.#plan.keepsIds && isRefused) this.#refusedIds.push(...pending.call.requestIds());
    const pauseMs = isRefused
      ? (pushbackMs ?? this.#plan.refusedPauseMs)
      : status.startsWith(BROKEN)
        ? RECONNECT_AFTER_MS
        : 0;
    this.#goOn(pending.line, pauseMs);
  }

  #goOn(line: Line, pauseMs: number): void {
    if (this.#isEnding) {
      if (this.#pending.size === 0) this.#whenIdle();
    } else if (pauseMs === 0) {
      this.#begin(line);
    } else {
      setTimeout(() => {
        if (!this.#isEnding) this.#begin(line);
      }, pauseMs);
    }
  }

  /** Gives up on a call, with an unknown outcome. */
  #giveUpOld(): void {
    const oldest = performance.now() - this.#plan.deadlineMs - GIVE_UP_AFTER_DEADLINE_MS;
    for (const pending of this.#pending) {
      if (pending.startedMs > oldest) return;
      pending.cancel();
      this.#end(pending, "GAVE UP", 0);
    }
  }

  #idle(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle = resolve;
    });
  }
}
