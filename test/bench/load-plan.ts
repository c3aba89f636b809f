import type { LatencySummary } from "./latency.js";

/** What is asked of a server, again and again. Wallets are those that populate() made, by their number. */
export type Work =
  | { readonly kind: "transfer"; readonly wallets: number; readonly isHot: boolean }
  | { readonly kind: "batch"; readonly wallets: number; readonly isHot: boolean; readonly items: number }
  | { readonly kind: "stream"; readonly wallets: number; readonly isHot: boolean }
  | { readonly kind: "get-balance"; readonly wallets: number }
  | { readonly kind: "get-transaction"; readonly transactions: number }
  | { readonly kind: "list"; readonly wallet: number; readonly pageSize: number; readonly pageToken: string }
  | { readonly kind: "statement"; readonly wallet: number; readonly fromMicros: string; readonly pageSize: number };

/** What a load client is told to do. */
export interface LoadPlan {
  /** host:port of the gRPC server. */
  readonly address: string;
  readonly work: Work;
  /** Calls that are under way at any time; on a stream: transfers that are not answered yet. */
  readonly inFlight: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** What each call tells the server as its deadline; the client gives up a second after it. */
  readonly deadlineMs: number;
  /** How long a caller that got RESOURCE_EXHAUSTED waits before its next call, where the server does not say. */
  readonly refusedPauseMs: number;
  /** Whether to hand back the request ids of what was answered OK and of what was refused. */
  readonly keepsIds: boolean;
  /** Processes whose CPU time in the measured window is of interest, with their children. */
  readonly watchedPids: Readonly<Record<string, number>>;
}

/** What came of it. The window is the measured one; totals are over everything that was sent. */
export interface LoadResult {
  readonly windowSeconds: number;
  /** Transfers (or reads) that were answered OK in the window, per second. */
  readonly okPerSecond: number;
  /** Transfers (or reads) whose call began in the window, per second. */
  readonly offeredPerSecond: number;
  /** Of the calls that were answered OK in the window. */
  readonly latencyUs: LatencySummary;
  /** Calls answered in the window, by the name of their grpc-status, or how their stream broke. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly total: {
    /** Transfers (or reads). */
    readonly sent: number;
    readonly ok: number;
    /** Calls. */
    readonly statuses: Readonly<Record<string, number>>;
  };
  /** CPU seconds in the window, of this client and of the watched processes; absent where the system does not tell. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** Share of the window in which the client's event loop was busy, 0 to 1. */
  readonly clientBusy: number;
  readonly okIds: readonly string[];
  readonly refusedIds: readonly string[];
}
