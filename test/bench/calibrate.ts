import { runLoad, startServing } from "./children.js";
import type { Cleanup } from "./cleanup.js";
import type { Work } from "./load-plan.js";
import type { Shape } from "./rows.js";

/** The maximum load of a load client, measured against a server that replies at once. */
export interface Capacity {
  readonly shape: Shape;
  /** Transfers per second. */
  readonly perSecond: number;
}

const SETUP: Readonly<Record<Shape, { readonly work: Work; readonly inFlight: number; readonly items: number }>> = {
  unary: { work: { kind: "transfer", wallets: 10_000, isHot: false }, inFlight: 512, items: 1 },
  "batch-100": { work: { kind: "batch", wallets: 10_000, isHot: false, items: 100 }, inFlight: 16, items: 100 },
  "batch-1000": { work: { kind: "batch", wallets: 10_000, isHot: false, items: 1_000 }, inFlight: 4, items: 1_000 },
  stream: { work: { kind: "stream", wallets: 10_000, isHot: false }, inFlight: 2_048, items: 1 },
};

/** Measures a shape of load against a separate server process that only replies. */
export async function measureCapacity(
  cleanup: Cleanup,
  shape: Shape,
  window: { readonly warmupMs: number; readonly measureMs: number },
): Promise<Capacity> {
  const { work, inFlight, items } = SETUP[shape];
  // Small calls need a server as fast as the client.
  const program = shape === "unary" ? "canned-raw-server.js" : "canned-server.js";
  const server = await startServing(cleanup, program, [String(items)]);
  const result = await runLoad(cleanup, {
    ...window,
    addresses: [server.address],
    work,
    inFlight,
    deadlineMs: 20_000,
    refusedPauseMs: 0,
    keepsIds: false,
    watchedPids: {},
  });
  await server.stop();
  return { shape, perSecond: result.okPerSecond };
}
