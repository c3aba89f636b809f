import type { LatencySummary } from "./latency.js";

/** A repeated request. Wallets are numbers of populate(). */
export type Work =
  | { readonly kind: "transfer"; readonly wallets: number; readonly isHot: boolean }
  | { readonly kind: "batch"; readonly wallets: number; readonly isHot: boolean; readonly items: number }
  | { readonly kind: "stream"; readonly wallets: number; readonly isHot: boolean }
  | { readonly kind: "create-user" }
  | { readonly kind: "get-balance"; readonly wallets: number }
  | { readonly kind: "get-transaction"; readonly transactions: number }
  | { readonly kind: "list"; readonly wallet: number; readonly pageSize: number; readonly pageToken: string }
  | { readonly kind: "statement"; readonly wallet: number; readonly fromMicros: string; readonly pageSize: number };

/** The plan of a load client. */
export interface LoadPlan {
  /** host:port of each gRPC server. */
  readonly addresses: readonly string[];
  readonly work: Work;
  /** Calls in flight at any time; on a stream: unanswered transfers. */
  readonly inFlight: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** The deadline of each call; the client gives up a second after it. */
  readonly deadlineMs: number;
  /** The delay after RESOURCE_EXHAUSTED without a retry delay from the server. */
  readonly refusedPauseMs: number;
  /** True to collect the request ids of acknowledged and refused calls. */
  readonly keepsIds: boolean;
  /** Processes whose CPU time in the window is measured, with their children. */
  readonly watchedPids: Readonly<Record<string, number>>;
}

/** The result of a load. The window is the measured one; totals include everything sent. */
export interface LoadResult {
  readonly windowSeconds: number;
  /** Transfers (or reads) answered OK in the window, per second. */
  readonly okPerSecond: number;
  /** Transfers (or reads) whose call began in the window, per second. */
  readonly offeredPerSecond: number;
  /** The latencies of calls answered OK in the window. */
  readonly latencyUs: LatencySummary;
  /** Calls answered in the window, by the name of their grpc-status or the kind of break. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly total: {
    /** Transfers (or reads). */
    readonly sent: number;
    readonly ok: number;
    /** Calls. */
    readonly statuses: Readonly<Record<string, number>>;
  };
  /** CPU seconds in the window of this client and the watched processes; undefined if unknown. */
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** The share of the window in which the client's event loop was busy, 0 to 1. */
  readonly clientBusy: number;
  readonly okIds: readonly string[];
  readonly refusedIds: readonly string[];
}
