import { metrics } from "@opentelemetry/api";

/** The metrics of commands that this server hands over. Without a meter provider they cost nothing. */
export interface HandoverMetrics {
  /** Records commands that are handed over. */
  readonly handed: (commands: number) => void;
  /** Records commands that were handed over and not answered, so that this server posts them itself. */
  readonly inDoubt: (commands: number) => void;
}

export function createHandoverMetrics(): HandoverMetrics {
  const meter = metrics.getMeter("grey.posting");
  const handed = meter.createCounter("grey.posting.handed_over", {
    description: "Commands handed over to the server that posts for all",
    unit: "{command}",
  });
  const inDoubt = meter.createCounter("grey.posting.in_doubt", {
    description: "Commands that were handed over, not answered, and posted by this server",
    unit: "{command}",
  });
  return { handed: (commands) => handed.add(commands), inDoubt: (commands) => inDoubt.add(commands) };
}
