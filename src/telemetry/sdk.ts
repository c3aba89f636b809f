import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { PgInstrumentation } from "@opentelemetry/instrumentation-pg";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { onStopTelemetry } from "./stop.js";

/** Starts OpenTelemetry as the standard OTEL_ variables say. Statements are reported without their values. */
export function startSdk(): void {
  process.env.OTEL_SERVICE_NAME ??= "grey";
  const sdk = new NodeSDK({
    instrumentations: [
      new GrpcInstrumentation({ ignoreGrpcMethods: [/^(Check|Watch|ServerReflectionInfo)$/] }),
      new PgInstrumentation({ requireParentSpan: true }),
    ],
  });
  sdk.start();
  onStopTelemetry(() => sdk.shutdown());
}
