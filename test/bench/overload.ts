import { setTimeout as delay } from "node:timers/promises";
import { runLoad } from "./children.js";
import { booksOf, serverOf, watchedPids, type Environment } from "./environment.js";
import { countRequests } from "./grey-books.js";
import type { LoadPlan, LoadResult } from "./load-plan.js";

/** Callers at the peak, and ten times as many. */
const PEAK_CALLERS = 2_048;
const OVERLOAD_CALLERS = 10 * PEAK_CALLERS;
/** Callers give up after this; work for those who did is wasted. */
const DEADLINE_MS = 2_000;
/** What RetryInfo says, which callers obey. */
const REFUSED_PAUSE_MS = 1_000;
const IDLE_MS = 1_000;
/** The first deadlines have passed before anything is counted: then as many callers wait as ever will. */
const WINDOW = { warmupMs: 2 * DEADLINE_MS, measureMs: 3 * DEADLINE_MS };
const SAMPLE_EVERY_MS = 100;

/** The server under ten times as many callers as its peak has. Memory is resident bytes. */
export interface OverloadReport {
  readonly callers: number;
  readonly deadlineMs: number;
  readonly memory: { readonly idle: number; readonly peak: number; readonly overload: number; readonly after: number };
  readonly peakPerSecond: number;
  readonly goodPerSecond: number;
  readonly offeredPerSecond: number;
  /** Of the peak. */
  readonly goodputShare: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** p50 and p99 of what was answered OK under overload. */
  readonly latencyUs: { readonly p50: number; readonly p99: number };
  /** Calls that were answered RESOURCE_EXHAUSTED, and how many of their request ids are in the books all the same. */
  readonly refused: number;
  readonly refusedButPosted: number;
  /** Calls that were answered OK and are not in the books. */
  readonly acknowledgedButLost: number;
}

/** Loads a server that has done nothing else: nothing, the peak, ten times that, nothing. */
export async function measureOverload(
  environment: Environment,
  onProgress: (text: string) => void,
): Promise<OverloadReport> {
  const server = serverOf(environment, "overload");
  const { url } = booksOf(environment, "overload");
  const pids = watchedPids(environment, server);
  const plan: LoadPlan = {
    ...WINDOW,
    address: server.address,
    work: { kind: "transfer", wallets: environment.scale.wallets, isHot: false },
    inFlight: PEAK_CALLERS,
    deadlineMs: DEADLINE_MS,
    refusedPauseMs: REFUSED_PAUSE_MS,
    keepsIds: true,
    watchedPids: pids,
  };
  const [, idle] = await withMemory(environment, () => delay(IDLE_MS));
  onProgress(`overload: ${PEAK_CALLERS} callers`);
  const [peak, peakBytes] = await withMemory(environment, () => runLoad(environment.cleanup, plan));
  onProgress(`overload: ${OVERLOAD_CALLERS} callers`);
  const [over, overBytes] = await withMemory(environment, () =>
    runLoad(environment.cleanup, { ...plan, inFlight: OVERLOAD_CALLERS }),
  );
  const [, after] = await withMemory(environment, () => delay(IDLE_MS));
  return {
    callers: OVERLOAD_CALLERS,
    deadlineMs: DEADLINE_MS,
    memory: { idle, peak: peakBytes, overload: overBytes, after },
    peakPerSecond: peak.okPerSecond,
    goodPerSecond: over.okPerSecond,
    offeredPerSecond: over.offeredPerSecond,
    goodputShare: over.okPerSecond / peak.okPerSecond,
    statuses: over.statuses,
    latencyUs: over.latencyUs,
    refused: over.refusedIds.length,
    refusedButPosted: await countRequests(url, over.refusedIds),
    acknowledgedButLost: await lost(url, [peak, over]),
  };
}

async function lost(url: string, results: readonly LoadResult[]): Promise<number> {
  const ids = results.flatMap((result) => result.okIds);
  return ids.length - (await countRequests(url, ids));
}

/** The greatest resident memory of the server while the work goes on. */
async function withMemory<T>(environment: Environment, work: () => Promise<T>): Promise<[T, number]> {
  let most = 0;
  const sample = (): void => {
    most = Math.max(most, environment.rssBytes("overload"));
  };
  sample();
  const timer = setInterval(sample, SAMPLE_EVERY_MS);
  try {
    const result = await work();
    sample();
    return [result, most];
  } finally {
    clearInterval(timer);
  }
}
