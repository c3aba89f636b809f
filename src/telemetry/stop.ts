let stopping: (() => Promise<void>) | undefined;

/** Registers the stop of telemetry; only a started SDK does. */
export function onStopTelemetry(stop: () => Promise<void>): void {
  stopping = stop;
}

/** Returns true if the SDK was started. */
export function isTelemetryOn(): boolean {
  return stopping !== undefined;
}

/** Sends what is unsent and stops telemetry. Telemetry that cannot be sent must not keep the process from ending. */
export async function stopTelemetry(): Promise<void> {
  await stopping?.().catch(() => undefined);
}
