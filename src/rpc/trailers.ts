import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from "@grpc/grpc-js";
import { isTelemetryOn } from "../telemetry/stop.js";

const byHeaders = new WeakMap<Metadata, Metadata>();

/** Gives the answer to the call with these headers its trailers, also when keepTrailers has to see to it. */
export function setTrailers(headers: Metadata, trailers: Metadata): Metadata {
  if (isTelemetryOn()) byHeaders.set(headers, trailers);
  return trailers;
}

/** OpenTelemetry's instrumentation loses the trailers that a unary handler gives: here they are found again. */
export const restoreTrailers: ServerInterceptor = (_method, call) => {
  let headers: Metadata | undefined;
  return new ServerInterceptingCall(call, {
    start: (next) => {
      next({
        onReceiveMetadata: (metadata, proceed) => {
          headers = metadata;
          proceed(metadata);
        },
      });
    },
    sendStatus: (status, next) => {
      const metadata = status.metadata ?? (headers === undefined ? undefined : byHeaders.get(headers));
      next(metadata === undefined ? status : { ...status, metadata });
    },
  });
};
