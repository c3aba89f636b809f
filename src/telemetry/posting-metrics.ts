import { metrics } from "@opentelemetry/api";

/** The metrics of the posting engine. Without a meter provider they cost nothing. */
export interface PostingMetrics {
  /** Records a batch that was written: its number of commands, the wait of its oldest command and the time of its writing, in ms. */
  readonly batch: (way: "memory" | "turn", size: number, waitMs: number, commitMs: number) => void;
  /** Records a batch that met a changed ledger or a used request id. */
  readonly conflict: () => void;
  /** Records a refused command. */
  readonly rejection: (reason: string) => void;
}

/** @param queueDepth returns the number of commands that wait */
export function createPostingMetrics(queueDepth: () => number): PostingMetrics {
  const meter = metrics.getMeter("grey.posting");
  const size = meter.createHistogram("grey.posting.batch.size", {
    description: "Commands in a batch",
    unit: "{command}",
  });
  const wait = meter.createHistogram("grey.posting.wait", {
    description: "Time that a batch's oldest command waited",
    unit: "ms",
  });
  const commit = meter.createHistogram("grey.posting.commit", {
    description: "Time to write and commit a batch",
    unit: "ms",
  });
  const conflicts = meter.createCounter("grey.posting.conflicts", {
    description: "Batches that were decided again",
  });
  const rejections = meter.createCounter("grey.posting.rejections", { description: "Refused commands, by reason" });
  meter
    .createObservableGauge("grey.posting.queue", { description: "Commands in the queue", unit: "{command}" })
    .addCallback((result) => result.observe(queueDepth()));
  return {
    batch: (way, commands, waitMs, commitMs) => {
      size.record(commands, { way });
      wait.record(waitMs, { way });
      commit.record(commitMs, { way });
    },
    conflict: () => conflicts.add(1),
    rejection: (reason) => rejections.add(1, { reason }),
  };
}
