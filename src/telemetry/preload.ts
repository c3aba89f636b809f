import { register } from "node:module";

// Loaded first, so that it can instrument later imports. Without an endpoint nothing is loaded and calls cost nothing extra;
// trace ids are propagated all the same (src/telemetry/trace.ts).
if (process.env.OTEL_EXPORTER_OTLP_ENDPOINT && process.env.OTEL_SDK_DISABLED !== "true") {
  // ES modules can be instrumented only through a loader hook.
  register("@opentelemetry/instrumentation/hook.mjs", import.meta.url);
  const { startSdk } = await import("./sdk.js");
  startSdk();
}
