import { runChild, runLoad } from "./children.js";
import type { EnginePlan } from "./engine-client.js";
import { findLedger, findServer, FRONT, watchedPids, type BooksName, type Environment } from "./environment.js";
import {
  FUNCTION_CLIENTS,
  measureCommits,
  runFunctionFromNode,
  runFunctionWithPgbench,
  type FunctionResult,
} from "./function-baseline.js";
import type { LatencySummary } from "./latency.js";
import type { LoadResult, Work } from "./load-plan.js";
import { transactionCount } from "./populate.js";

/** The duration of a row: warm-up, then measurement. */
export interface Window {
  readonly warmupMs: number;
  readonly measureMs: number;
}

/** The result of one run of a row. */
export interface Sample {
  /** Transfers (or reads, or commits) answered OK per second. */
  readonly perSecond: number;
  readonly latencyUs: LatencySummary;
  /** Transfers sent and answered OK in the whole run; absent for reads. */
  readonly total?: { readonly sent: number; readonly ok: number };
  /** Calls in the window by grpc-status; absent without gRPC. */
  readonly statuses?: Readonly<Record<string, number>>;
  /** CPU time per transfer or read, by process, in microseconds. */
  readonly cpuUs?: Readonly<Record<string, number>>;
  /** What was answered OK per second of the load beside it. */
  readonly beside?: number;
  /** The share of the window in which the load client's event loop was busy. */
  readonly clientBusy?: number;
}

/** The shapes of load for which the client is calibrated. */
export type Shape = "unary" | "batch-100" | "batch-1000" | "stream";

/** A line of the table. */
export interface Row {
  readonly id: string;
  readonly title: string;
  readonly unit: "transfers" | "reads" | "commits";
  readonly books: BooksName;
  /** True if `--quick` runs it. */
  readonly isQuick: boolean;
  readonly inFlight?: number;
  /** The shape of load that the client is calibrated for. */
  readonly shape?: Shape;
  /** True for a point of the chart's curve. */
  readonly isOnCurve?: boolean;
  readonly needsDeepPage?: boolean;
  /** True if it runs on the PostgreSQL of `--other`. */
  readonly isOnOther?: true;
  /**
   * The time of its warm-up, if it is longer than the others'.
   * - On the large ledger: each round begins with a checkpoint, after which PostgreSQL logs each page in full when it first changes:
   *   for seconds, of the five minutes between checkpoints.
   * - With several servers: no other row has warmed up their code.
   */
  readonly warmupMs?: number;
  run(environment: Environment, window: Window): Promise<Sample>;
}

/** A goal of a row relative to another in the same round. */
export interface Goal {
  readonly row: string;
  readonly against: string;
  readonly measure: "throughput" | "p50";
  readonly atLeast?: number;
  readonly atMost?: number;
  /** True if missing it fails the run. */
  readonly isRequired?: true;
}

const DEADLINE_MS = 20_000;
const READERS = 8;
/** Enough batches in flight to keep several queued. */
const TRANSFERS_IN_BATCHES = 4_000;
const BATCHES_MAX = 16;
const LARGE_WARMUP_MS = 10_000;
const SHARING_WARMUP_MS = 5_000;
/** Users that are created at once beside transfers. */
const USERS_AT_ONCE = 16;

export const ROWS: readonly Row[] = [
  {
    id: "commit",
    title: "one commit at a time, one connection",
    unit: "commits",
    books: "function",
    isQuick: true,
    inFlight: 1,
    run: async (environment, { warmupMs, measureMs }) =>
      sampleOfFunction(await measureCommits(findLedger(environment, "function").url, warmupMs, measureMs), false),
  },
  functionRow("function", false),
  functionRow("function-hot", true),
  {
    ...transferRow("typeorm", "typeorm", 64, false),
    title: "TypeORM, a transaction per request, pool of 20",
    isQuick: true,
  },
  { ...transferRow("typeorm-hot", "typeorm", 64, true), title: "the same, one hot wallet" },
  { ...transferRow("unary-1", "fresh", 1, false), isQuick: true, isOnCurve: true },
  { ...transferRow("unary-8", "fresh", 8, false), isOnCurve: true },
  { ...transferRow("unary-64", "fresh", 64, false), isQuick: true, isOnCurve: true },
  { ...transferRow("unary-512", "fresh", 512, false), isQuick: true, isOnCurve: true, shape: "unary" },
  { ...transferRow("unary-2048", "fresh", 2_048, false), isQuick: true, isOnCurve: true, shape: "unary" },
  {
    ...transferRow("unary-512-quiet", "quiet", 512, false),
    title: "unary Transfer, GREY_LOG_LEVEL=warn",
    shape: "unary",
  },
  { ...transferRow("unary-512-hot", "fresh", 512, true), isQuick: true, shape: "unary" },
  mixedRow("unary-512-users", 512),
  ...(["two", "three"] as const).map((name): Row => ({
    ...transferRow(`${name}-unary-512`, name, 512, false),
    title: `unary Transfer, ${name} servers`,
    shape: "unary",
    warmupMs: SHARING_WARMUP_MS,
  })),
  { ...batchRow("batch-100", "fresh", 100, false), isQuick: true },
  ...(["two", "three"] as const).map((name): Row => ({
    ...batchRow(`${name}-batch-100`, name, 100, false),
    title: `BatchTransfer of 100, ${name} servers`,
    warmupMs: SHARING_WARMUP_MS,
  })),
  batchRow("batch-1000", "fresh", 1_000, false),
  { ...batchRow("batch-100-hot", "fresh", 100, true), isQuick: true },
  batchRow("batch-1000-hot", "fresh", 1_000, true),
  { ...streamRow("stream", "fresh", false), isQuick: true },
  { ...engineRow("engine", false), isQuick: true },
  engineRow("engine-hot", true),
  {
    ...engineRow("engine-holds", false, true),
    title: "engine in process, Hold then CaptureHold, counted as two",
  },
  {
    ...transferRow("large-unary-512", "large", 512, false),
    title: "unary Transfer, 1M wallets, 10M entries",
    shape: "unary",
    warmupMs: LARGE_WARMUP_MS,
  },
  onOther(transferRow("other-unary-512", "other", 512, false)),
  onOther(batchRow("other-batch-100", "other", 100, false)),
  {
    ...batchRow("large-batch-100", "large", 100, false),
    title: "BatchTransfer of 100, 1M wallets, 10M entries",
    warmupMs: LARGE_WARMUP_MS,
  },
  ...(["fresh", "large"] as const).flatMap((books) => readRows(books)),
];

export const GOALS: readonly Goal[] = [
  { row: "unary-1", against: "commit", measure: "p50", atMost: 3 },
  { row: "unary-512", against: "function", measure: "throughput", atLeast: 1.3 },
  { row: "unary-512", against: "typeorm", measure: "throughput", atLeast: 15 },
  { row: "unary-512-hot", against: "function-hot", measure: "throughput", atLeast: 6 },
  { row: "two-unary-512", against: "unary-512", measure: "throughput", atLeast: 0.95 },
  { row: "three-unary-512", against: "unary-512", measure: "throughput", atLeast: 0.95 },
  { row: "two-batch-100", against: "batch-100", measure: "throughput", atLeast: 0.95 },
  { row: "three-batch-100", against: "batch-100", measure: "throughput", atLeast: 0.95 },
  { row: "batch-100", against: "function", measure: "throughput", atLeast: 5 },
  { row: "batch-1000", against: "function", measure: "throughput", atLeast: 6 },
  { row: "batch-100-hot", against: "function-hot", measure: "throughput", atLeast: 15 },
  { row: "batch-1000-hot", against: "function-hot", measure: "throughput", atLeast: 15 },
  { row: "stream", against: "function", measure: "throughput", atLeast: 3 },
  { row: "engine", against: "function", measure: "throughput", atLeast: 5 },
  { row: "large-unary-512", against: "unary-512", measure: "throughput", atLeast: 0.9 },
  { row: "large-batch-100", against: "batch-100", measure: "throughput", atLeast: 0.9 },
  { row: "other-unary-512", against: "unary-512", measure: "throughput", atLeast: 0.5, isRequired: true },
  { row: "other-batch-100", against: "batch-100", measure: "throughput", atLeast: 0.5, isRequired: true },
  { row: "large-get-balance", against: "fresh-get-balance", measure: "p50", atMost: 1.15 },
  { row: "large-get-transaction", against: "fresh-get-transaction", measure: "p50", atMost: 1.15 },
  { row: "large-statement", against: "fresh-statement", measure: "p50", atMost: 1.15 },
  { row: "large-list-first", against: "fresh-list-first", measure: "p50", atMost: 1.15 },
  { row: "large-list-1000th", against: "fresh-list-1000th", measure: "p50", atMost: 1.15 },
];

// Ratios without a goal.
export const COMPARISONS: readonly Goal[] = [
  { row: "unary-512-quiet", against: "unary-512", measure: "throughput" },
  { row: "unary-512-users", against: "unary-512", measure: "throughput" },
  { row: "unary-2048", against: "function", measure: "throughput" },
  { row: "engine-hot", against: "function-hot", measure: "throughput" },
  { row: "engine-holds", against: "engine", measure: "throughput" },
  { row: "typeorm", against: "function", measure: "throughput" },
];

let functionRun = 0;

function functionRow(id: string, isHot: boolean): Row {
  return {
    id,
    title: isHot ? "the same, one hot wallet" : `one PL/pgSQL function per transfer, ${FUNCTION_CLIENTS} clients`,
    unit: "transfers",
    books: "function",
    isQuick: true,
    inFlight: FUNCTION_CLIENTS,
    run: async (environment, window) => {
      const { cleanup, folder, pgbench, scale } = environment;
      functionRun += 1;
      const { url } = findLedger(environment, "function");
      const plan = { url, wallets: scale.wallets, isHot, clients: FUNCTION_CLIENTS, run: functionRun, ...window };
      const result =
        pgbench === undefined
          ? await runFunctionFromNode(cleanup, plan)
          : await runFunctionWithPgbench(cleanup, folder, plan);
      return sampleOfFunction(result, true);
    },
  };
}

function sampleOfFunction({ perSecond, latencyUs, ok }: FunctionResult, isTransfer: boolean): Sample {
  // Calls that pgbench aborts at the end are missing from its log, but may be committed.
  return { perSecond, latencyUs, ...(isTransfer && { total: { sent: ok + FUNCTION_CLIENTS, ok } }) };
}

function loadRow(
  id: string,
  title: string,
  books: BooksName,
  inFlight: number,
  unit: "transfers" | "reads",
  work: (environment: Environment) => Work,
): Row {
  return {
    id,
    title,
    unit,
    books,
    isQuick: false,
    inFlight,
    run: async (environment, window) => {
      return sampleOfLoad(await offer(environment, books, window, inFlight, work(environment)), unit === "transfers");
    },
  };
}

/** Offers a load to the servers on a ledger. */
function offer(
  environment: Environment,
  books: BooksName,
  window: Window,
  inFlight: number,
  work: Work,
): Promise<LoadResult> {
  const server = findServer(environment, books);
  const { fronts = [] } = findLedger(environment, books);
  return runLoad(environment.cleanup, {
    ...window,
    addresses: [server, ...fronts].map(({ address }) => address),
    work,
    inFlight,
    deadlineMs: DEADLINE_MS,
    refusedPauseMs: 1_000,
    keepsIds: false,
    watchedPids: watchedPids(environment, server, fronts),
  });
}

/** Transfers while other callers create users, whose records are in the same journal. */
function mixedRow(id: string, inFlight: number): Row {
  const row = transferRow(id, "fresh", inFlight, false);
  return {
    ...row,
    title: `unary Transfer, while ${USERS_AT_ONCE} callers create users`,
    run: async (environment, window) => {
      const [sample, users] = await Promise.all([
        row.run(environment, window),
        offer(environment, "fresh", window, USERS_AT_ONCE, { kind: "create-user" }),
      ]);
      const { sent = 0, ok = 0 } = sample.total ?? {};
      return {
        ...sample,
        total: { sent: sent + users.total.sent, ok: ok + users.total.ok },
        beside: users.okPerSecond,
      };
    },
  };
}

function sampleOfLoad(result: LoadResult, isTransfer: boolean): Sample {
  const count = result.okPerSecond * result.windowSeconds;
  const cpuUs: Record<string, number> = {};
  for (const [process, seconds] of Object.entries(result.cpuSeconds)) {
    const name = process.startsWith(FRONT) ? "fronts" : process;
    cpuUs[name] = (cpuUs[name] ?? 0) + (count === 0 ? 0 : (seconds * 1e6) / count);
  }
  return {
    perSecond: result.okPerSecond,
    latencyUs: result.latencyUs,
    ...(isTransfer && { total: result.total }),
    statuses: result.statuses,
    cpuUs,
    clientBusy: result.clientBusy,
  };
}

function countWallets(environment: Environment, books: BooksName): number {
  return books === "large" ? environment.scale.large.wallets : environment.scale.wallets;
}

function transferRow(id: string, books: BooksName, inFlight: number, isHot: boolean): Row {
  const title = isHot ? "unary Transfer, one hot wallet" : "unary Transfer";
  return loadRow(id, title, books, inFlight, "transfers", (environment) => ({
    kind: "transfer",
    wallets: countWallets(environment, books),
    isHot,
  }));
}

function batchRow(id: string, books: BooksName, items: 100 | 1_000, isHot: boolean): Row {
  const title = `BatchTransfer of ${items.toLocaleString("en")}${isHot ? ", one hot wallet" : ""}`;
  const inFlight = Math.min(BATCHES_MAX, TRANSFERS_IN_BATCHES / items);
  const work = (environment: Environment): Work => ({
    kind: "batch",
    wallets: countWallets(environment, books),
    isHot,
    items,
  });
  return { ...loadRow(id, title, books, inFlight, "transfers", work), shape: `batch-${items}` };
}

function onOther(row: Row): Row {
  return { ...row, title: `${row.title}, on the other PostgreSQL`, isOnOther: true };
}

function streamRow(id: string, books: BooksName, isHot: boolean): Row {
  const work = (environment: Environment): Work => ({
    kind: "stream",
    wallets: countWallets(environment, books),
    isHot,
  });
  return { ...loadRow(id, "StreamTransfers, 4 streams", books, 2_048, "transfers", work), shape: "stream" };
}

function engineRow(id: string, isHot: boolean, holds = false): Row {
  const callers = 1_024;
  return {
    id,
    title: `engine in process${isHot ? ", one hot wallet" : ""}`,
    unit: "transfers",
    books: "engine",
    isQuick: false,
    inFlight: callers,
    run: async (environment, window) => {
      const plan: EnginePlan = {
        ...window,
        url: findLedger(environment, "engine").url,
        wallets: environment.scale.wallets,
        isHot,
        holds,
        callers,
        watchedPids: watchedPids(environment),
      };
      return sampleOfLoad(await runChild<LoadResult>(environment.cleanup, "engine-client.js", plan), true);
    },
  };
}

function readRows(books: "fresh" | "large"): Row[] {
  const on = books === "fresh" ? "fresh" : "10M entries";
  const deepWallet = (environment: Environment): number => environment.scale[books].wallets;
  const list = (environment: Environment, pageToken: string): Work => ({
    kind: "list",
    wallet: deepWallet(environment),
    pageSize: environment.pageSize,
    pageToken,
  });
  return [
    loadRow(`${books}-get-balance`, `GetBalance, ${on}`, books, READERS, "reads", (environment) => ({
      kind: "get-balance",
      wallets: environment.scale[books].wallets,
    })),
    loadRow(`${books}-get-transaction`, `GetTransaction, ${on}`, books, READERS, "reads", (environment) => ({
      kind: "get-transaction",
      transactions: transactionCount(environment.scale[books]),
    })),
    {
      ...loadRow(
        `${books}-statement`,
        `GetStatement, the last 1,000 lines, ${on}`,
        books,
        READERS,
        "reads",
        (environment) => ({
          kind: "statement",
          wallet: deepWallet(environment),
          fromMicros: environment.statementFrom(books),
          pageSize: environment.pageSize,
        }),
      ),
      needsDeepPage: true,
    },
    {
      ...loadRow(`${books}-list-first`, `ListTransactions, first page, ${on}`, books, READERS, "reads", (environment) =>
        list(environment, ""),
      ),
      needsDeepPage: true,
    },
    {
      ...loadRow(
        `${books}-list-1000th`,
        `ListTransactions, page 1,000, ${on}`,
        books,
        READERS,
        "reads",
        (environment) => list(environment, environment.pageToken(books)),
      ),
      needsDeepPage: true,
    },
  ];
}
