let stopping: (() => Promise<void>) | undefined;

/** Says how to stop telemetry; the SDK does, when it was started at all. */
export function onStopTelemetry(stop: () => Promise<void>): void {
  stopping = stop;
}

/** Whether the SDK was started. */
export function isTelemetryOn(): boolean {
  return stopping !== undefined;
}

/** Sends what is still unsent and stops. Telemetry that cannot be sent must not keep the process from ending. */
export async function stopTelemetry(): Promise<void> {
  await stopping?.().catch(() => undefined);
}
