import { setTimeout as delay } from "node:timers/promises";
import { runLoad } from "./children.js";
import { findLedger, findServer, watchedPids, type Environment } from "./environment.js";
import { countRequests } from "./grey-books.js";
import type { LoadPlan, LoadResult } from "./load-plan.js";

/** The number of callers at the peak; overload has ten times as many. */
const PEAK_CALLERS = 2_048;
const OVERLOAD_CALLERS = 10 * PEAK_CALLERS;
/** The callers' deadline; work for expired calls is wasted. */
const DEADLINE_MS = 2_000;
/** The retry delay in RetryInfo, which callers honour. */
const REFUSED_PAUSE_MS = 1_000;
const IDLE_MS = 1_000;
/** The warm-up lasts beyond the first deadlines: by then, the number of waiting callers is at its maximum. */
const WINDOW = { warmupMs: 2 * DEADLINE_MS, measureMs: 3 * DEADLINE_MS };
const SAMPLE_EVERY_MS = 100;

/** The server with ten times the callers of its peak. Memory is resident bytes. */
export interface OverloadReport {
  readonly callers: number;
  readonly deadlineMs: number;
  readonly memory: { readonly idle: number; readonly peak: number; readonly overload: number; readonly after: number };
  readonly peakPerSecond: number;
  readonly goodPerSecond: number;
  readonly offeredPerSecond: number;
  /** The share of the peak's goodput. */
  readonly goodputShare: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** p50 and p99 of calls answered OK under overload. */
  readonly latencyUs: { readonly p50: number; readonly p99: number };
  /** Calls refused with RESOURCE_EXHAUSTED, and how many of their request ids are in the ledger nevertheless. */
  readonly refused: number;
  readonly refusedButPosted: number;
  /** Calls answered OK that are not in the ledger. */
  readonly acknowledgedButLost: number;
}

/** Loads a fresh server: idle, the peak, ten times that, idle. */
export async function measureOverload(
  environment: Environment,
  onProgress: (text: string) => void,
): Promise<OverloadReport> {
  const server = findServer(environment, "overload");
  const { url } = findLedger(environment, "overload");
  const pids = watchedPids(environment, server);
  const plan: LoadPlan = {
    ...WINDOW,
    addresses: [server.address],
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

/** Returns the maximum resident memory of the server during `work`. */
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
