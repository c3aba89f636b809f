// A process that calls the baseline's function on its own connections, like pgbench. It takes a plan over IPC.
import pg from "pg";
import { ID_TEXT_BYTES, RequestIds } from "./bench-ids.js";
import { randomBelow } from "./frames.js";
import { TRANSFER_CALL, type FunctionPlan, type FunctionResult } from "./function-baseline.js";
import { LatencyHistogram } from "./latency.js";

process.once("disconnect", () => process.exit(1));
process.once("message", (plan: FunctionPlan) => {
  callFunction(plan).then(
    (result) => process.send?.({ result }, () => process.exit(0)),
    (error: unknown) => process.send?.({ error: String(error) }, () => process.exit(1)),
  );
});

async function callFunction(plan: FunctionPlan): Promise<FunctionResult> {
  const latency = new LatencyHistogram();
  const ids = new RequestIds();
  const idBytes = Buffer.alloc(ID_TEXT_BYTES);
  let ok = 0;
  const clients = await Promise.all(
    Array.from({ length: plan.clients }, async () => {
      const client = new pg.Client({ connectionString: plan.url });
      await client.connect();
      return client;
    }),
  );
  const fromMs = performance.now() + plan.warmupMs;
  const untilMs = fromMs + plan.measureMs;
  await Promise.all(
    clients.map(async (client) => {
      for (let startedMs = performance.now(); startedMs < untilMs;) {
        ids.stamp(idBytes, 0);
        await client.query({
          name: "transfer",
          text: TRANSFER_CALL,
          values: [idBytes.toString("latin1"), ...randomArguments(plan)],
        });
        const doneMs = performance.now();
        ok += 1;
        if (doneMs >= fromMs && doneMs < untilMs) latency.record((doneMs - startedMs) * 1_000);
        startedMs = doneMs;
      }
      await client.end();
    }),
  );
  const latencyUs = latency.summary();
  return { perSecond: latencyUs.count / (plan.measureMs / 1_000), latencyUs, ok };
}

function randomArguments({ wallets, isHot }: FunctionPlan): [payer: number, payee: number, amount: number] {
  const first = isHot ? 0 : randomBelow(wallets);
  const second = (first + 1 + randomBelow(wallets - 1)) % wallets;
  const amount = 1 + randomBelow(100);
  return Math.random() < 0.5 ? [first + 1, second + 1, amount] : [second + 1, first + 1, amount];
}
