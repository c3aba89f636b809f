import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from "@grpc/grpc-js";
import { isTelemetryOn } from "../telemetry/stop.js";

const byHeaders = new WeakMap<Metadata, Metadata>();

/** Remembers the trailers of the call with these headers for restoreTrailers, and returns them. */
export function setTrailers(headers: Metadata, trailers: Metadata): Metadata {
  if (isTelemetryOn()) byHeaders.set(headers, trailers);
  return trailers;
}

/** Restores the trailers of unary calls, which OpenTelemetry's instrumentation drops. */
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
