// A process that posts through Grey's engine without gRPC: takes a plan over IPC.
import { findDifferences } from "../../src/services/transaction/find-differences.js";
import { setTimeout as delay } from "node:timers/promises";
import { newId } from "../../src/base/ids.js";
import { readConfig } from "../../src/config/config.js";
import { connectDatabase } from "../../src/db/database.js";
import { createEngine, type Engine } from "../../src/ledger/post/engine.js";
import { createPostingConnection } from "../../src/ledger/post/connection.js";
import { NO_CALLER_DATA, type Command, type MovementCommand } from "../../src/ledger/command/command.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";
import { capture, hold } from "../support/holds.js";
import { randomTransfer } from "./frames.js";
import type { LoadResult } from "./load-plan.js";
import { startMeters } from "./meters.js";
import { Tally } from "./tally.js";

/** How the engine is called. */
export interface EnginePlan {
  readonly url: string;
  readonly wallets: number;
  readonly isHot: boolean;
  /** Whether money is held and captured, each time in two commands, instead of transferred. */
  readonly holds: boolean;
  readonly callers: number;
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly watchedPids: Readonly<Record<string, number>>;
}

process.once("disconnect", () => process.exit(1));
process.once("message", (plan: EnginePlan) => {
  callEngine(plan).then(
    (result) => process.send?.({ result }, () => process.exit(0)),
    (error: unknown) => process.send?.({ error: String(error) }, () => process.exit(1)),
  );
});

async function callEngine(plan: EnginePlan): Promise<LoadResult> {
  const config = readConfig({});
  const database = await connectDatabase(plan.url, config);
  const connection = createPostingConnection(plan.url, config);
  const engine = createEngine(database, connection, config, findDifferences);
  const tally = new Tally();
  const ending = new AbortController();
  const callers = Array.from({ length: plan.callers }, () => call(engine, plan, tally, ending.signal));
  await delay(plan.warmupMs);
  const endMeters = startMeters(plan.watchedPids);
  tally.openWindow();
  await delay(plan.measureMs);
  tally.closeWindow();
  const used = endMeters();
  ending.abort();
  await Promise.all(callers);
  await connection.stop();
  await database.dataSource.destroy();
  return { ...tally.result(used), okIds: [], refusedIds: [] };
}

const ENDLESS = { assertWaiting: () => undefined };

async function call(engine: Engine, plan: EnginePlan, tally: Tally, ending: AbortSignal): Promise<void> {
  const post = async (command: Command): Promise<void> => {
    const startedMs = performance.now();
    tally.sent(1);
    const [outcome] = await engine.post({ commands: [command], mode: "INDEPENDENT" }, ENDLESS);
    const isPosted = outcome !== undefined && "transaction" in outcome && outcome.transaction.failure === null;
    tally.answered(isPosted ? "OK" : "REFUSED", isPosted ? 1 : 0, startedMs);
  };
  while (!ending.aborted) {
    const transfer = randomCommand(plan);
    if (plan.holds) {
      const { amountMinor, debitAccountId, creditAccountId } = transfer;
      const held = hold(debitAccountId, amountMinor, { toWalletId: creditAccountId });
      await post(held);
      await post(capture(held.transactionId, null));
    } else {
      await post(transfer);
    }
  }
}

function randomCommand({ wallets, isHot }: EnginePlan): MovementCommand {
  const { requestId, fromWalletId, toWalletId, amount } = randomTransfer(newId(), wallets, isHot);
  return {
    kind: "TRANSFER",
    caller: LOCAL_CALLER,
    requestId,
    transactionId: newId(),
    debitAccountId: fromWalletId,
    creditAccountId: toWalletId,
    currencyCode: amount!.currencyCode,
    amountMinor: amount!.minorUnits,
    data: NO_CALLER_DATA,
    isUpTo: false,
    preconditions: [],
    requestTerms: null,
    effectiveTime: null,
    system: null,
  };
}
