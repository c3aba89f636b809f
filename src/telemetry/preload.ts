import { register } from "node:module";

// Loaded before everything else, so that it can instrument what is imported after it. Without an endpoint nothing is
// loaded and calls cost nothing more; trace ids are continued all the same (src/telemetry/trace.ts).
if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT && process.env.OTEL_SDK_DISABLED !== "true") {
  // ES modules can only be instrumented through a loader hook.
  register("@opentelemetry/instrumentation/hook.mjs", import.meta.url);
  const { startSdk } = await import("./sdk.js");
  startSdk();
}
