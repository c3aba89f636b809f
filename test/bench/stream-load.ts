import type { IncomingHttpHeaders } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";
import { callHeaders, type Connection } from "./connections.js";
import { FRAME_HEADER_BYTES } from "./frames.js";
import type { LoadPlan, LoadResult, Work } from "./load-plan.js";
import { startMeters } from "./meters.js";
import { Tally } from "./tally.js";
import { makeStreamMessages } from "./work.js";

/** Runs one bidirectional stream per connection; together they keep the plan's number of transfers in flight. */
export async function offerStreams(
  plan: LoadPlan,
  work: Extract<Work, { kind: "stream" }>,
  connections: readonly Connection[],
): Promise<LoadResult> {
  const { inFlight, warmupMs, measureMs, watchedPids } = plan;
  const tally = new Tally();
  const ending = new AbortController();
  const slots = Math.ceil(inFlight / connections.length);
  const streams = connections.map((connection) => offerStream(plan, work, connection, slots, tally, ending.signal));
  // A broken stream ends the run.
  const all = Promise.all(streams);
  await Promise.race([delay(warmupMs), all]);
  const endMeters = startMeters(watchedPids);
  tally.openWindow();
  await Promise.race([delay(measureMs), all]);
  tally.closeWindow();
  const used = endMeters();
  ending.abort();
  await all;
  return { ...tally.result(used), okIds: [], refusedIds: [] };
}

/** Runs a stream until the signal, and then until everything is answered. */
function offerStream(
  plan: LoadPlan,
  work: Extract<Work, { kind: "stream" }>,
  connection: Connection,
  slots: number,
  tally: Tally,
  ending: AbortSignal,
): Promise<void> {
  const maker = makeStreamMessages(work, slots);
  const startedMs = new Float64Array(slots);
  let pending = 0;
  let rest: Buffer = Buffer.alloc(0);
  const deadlineMs = plan.warmupMs + plan.measureMs + plan.deadlineMs;
  const stream = connection.session.request(callHeaders(maker.path, deadlineMs));

  function send(slotsToFill: readonly number[]): void {
    const nowMs = performance.now();
    const frames = slotsToFill.map((slot) => {
      startedMs[slot] = nowMs;
      return maker.next(slot);
    });
    pending += frames.length;
    tally.sent(frames.length);
    stream.write(Buffer.concat(frames));
  }

  /** Reads the complete replies. Returns the slots that they free. */
  function receive(chunk: Buffer): number[] {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const free: number[] = [];
    let offset = 0;
    while (bytes.length - offset >= FRAME_HEADER_BYTES) {
      const end = offset + FRAME_HEADER_BYTES + bytes.readUInt32BE(offset + 1);
      if (end > bytes.length) break;
      const { slot, isPosted } = maker.read(bytes.subarray(offset + FRAME_HEADER_BYTES, end));
      tally.answered(isPosted ? "OK" : "REFUSED", isPosted ? 1 : 0, startedMs[slot]!);
      pending -= 1;
      free.push(slot);
      offset = end;
    }
    rest = bytes.subarray(offset);
    return free;
  }

  return new Promise((resolve, reject) => {
    let status: string | undefined;
    let isEnded = false;
    const endWhenIdle = (): void => {
      if (!ending.aborted || pending > 0 || isEnded) return;
      isEnded = true;
      stream.end();
    };
    const onHeaders = (headers: IncomingHttpHeaders): void => {
      const code = headers["grpc-status"];
      if (code !== undefined) status = String(code);
    };
    stream.on("response", onHeaders);
    stream.on("trailers", onHeaders);
    stream.on("data", (chunk: Buffer) => {
      const free = receive(chunk);
      if (ending.aborted) endWhenIdle();
      else if (free.length > 0) send(free);
    });
    stream.on("error", reject);
    stream.on("close", () => {
      if (status === "0" && isEnded) resolve();
      else reject(new Error(`a stream ended with grpc-status ${status ?? "none"} and ${pending} transfers unanswered`));
    });
    ending.addEventListener("abort", endWhenIdle);
    send(Array.from({ length: slots }, (_, slot) => slot));
  });
}
