import { metrics } from "@opentelemetry/api";

/** What the posting engine says of itself. Without a meter provider it costs nothing. */
export interface PostingMetrics {
  /** A batch was written: how many commands, how long its oldest one waited, and how long writing took, in ms. */
  readonly batch: (shape: "optimistic" | "locked", size: number, waitMs: number, commitMs: number) => void;
  /** A batch met books that had changed, or a request id that was used before. */
  readonly conflict: () => void;
  /** A command was refused. */
  readonly rejection: (reason: string) => void;
}

/** @param queueDepth how many commands wait at the moment */
export function createPostingMetrics(queueDepth: () => number): PostingMetrics {
  const meter = metrics.getMeter("grey.posting");
  const size = meter.createHistogram("grey.posting.batch.size", {
    description: "Commands in a batch",
    unit: "{command}",
  });
  const wait = meter.createHistogram("grey.posting.wait", {
    description: "Wait of a batch's oldest command",
    unit: "ms",
  });
  const commit = meter.createHistogram("grey.posting.commit", {
    description: "Time to write and commit a batch",
    unit: "ms",
  });
  const conflicts = meter.createCounter("grey.posting.conflicts", {
    description: "Batches that had to be decided again",
  });
  const rejections = meter.createCounter("grey.posting.rejections", { description: "Refused commands, by reason" });
  meter
    .createObservableGauge("grey.posting.queue", { description: "Commands that wait", unit: "{command}" })
    .addCallback((result) => result.observe(queueDepth()));
  return {
    batch: (shape, commands, waitMs, commitMs) => {
      size.record(commands, { shape });
      wait.record(waitMs, { shape });
      commit.record(commitMs, { shape });
    },
    conflict: () => conflicts.add(1),
    rejection: (reason) => rejections.add(1, { reason }),
  };
}
