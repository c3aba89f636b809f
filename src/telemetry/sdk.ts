import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { PgInstrumentation } from "@opentelemetry/instrumentation-pg";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { onStopTelemetry } from "./stop.js";

/** Starts OpenTelemetry according to the standard OTEL_ variables. Statements are reported without their values. */
export function startSdk(): void {
  process.env.OTEL_SERVICE_NAME ??= "grey";
  // In ms. An unreachable receiver delays the server's stop by this much; the standard's default is 10 s.
  process.env.OTEL_EXPORTER_OTLP_TIMEOUT ??= "2000";
  const sdk = new NodeSDK({
    instrumentations: [
      new GrpcInstrumentation({ ignoreGrpcMethods: [/^(Check|Watch|ServerReflectionInfo)$/] }),
      new PgInstrumentation({ requireParentSpan: true }),
    ],
  });
  sdk.start();
  onStopTelemetry(() => sdk.shutdown());
}
