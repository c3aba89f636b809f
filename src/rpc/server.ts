import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { formatAddress } from "../config/address.js";
import { SettingError, type Config } from "../config/config.js";
import type { BoundService } from "./methods.js";
import { isTelemetryOn } from "../telemetry/stop.js";
import type { Admission } from "./admission.js";
import { Outgoing } from "./outgoing.js";
import { restoreTrailers } from "./trailers.js";
import { setTransportOptions, normalizeCallHeaders } from "./transport.js";

/** Ample for HTTP/2 frames that are queued; grpc-js reports no end of it. */
const FLUSH_MS = 50;

/** A gRPC server that listens. */
export interface RpcServer {
  /** host:port, with the bound port. */
  readonly address: string;
  /** Bytes of answers that clients have not taken yet. */
  readonly outgoingBytes: number;
  /** Sets the health of every service and of the server as a whole. */
  setServing(isServing: boolean): void;
  /** Waits until answers that were just given have reached their sockets. */
  flush(): Promise<void>;
  /** Takes no new calls, and stops once those in flight are answered or the time is over. */
  stop(timeoutMs: number): Promise<void>;
}

/**
 * Serves on the configured address. Health is NOT_SERVING until setServing(true).
 * @throws SettingError when the address cannot be bound
 */
export async function startRpcServer(
  config: Config,
  services: readonly BoundService[],
  serviceNames: readonly string[],
  admission: Admission,
): Promise<RpcServer> {
  // The library would print headers that it cannot read, with their values, to standard error.
  setLogVerbosity(logVerbosity.NONE);
  const outgoing = new Outgoing({
    connectionBytesMax: config.GREY_CONNECTION_OUTGOING_BYTES_MAX,
    bytesMax: config.GREY_OUTGOING_BYTES_MAX,
    stallMs: config.GREY_WATCH_STALL_MS,
  });
  const server = new Server({
    interceptors: [outgoing.interceptor, ...(isTelemetryOn() ? [restoreTrailers] : [])],
    "grpc.max_receive_message_length": config.GREY_REQUEST_BYTES_MAX,
    "grpc.max_connection_idle_ms": config.GREY_CONNECTION_IDLE_MS,
    "grpc.max_connection_age_ms": config.GREY_CONNECTION_AGE_MS,
    "grpc.max_connection_age_grace_ms": config.GREY_CONNECTION_GRACE_MS,
    // Detects half-open connections.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    // In MB, for the HTTP/2 session of one connection.
    "grpc-node.max_session_memory": 50,
  });
  setTransportOptions(server, config);
  for (const { definition, implementation } of services) server.addService(definition, implementation);
  const names = ["", ...serviceNames];
  const health = new HealthImplementation(Object.fromEntries(names.map((name) => [name, "NOT_SERVING"])));
  health.addToServer(server);
  const port = await bind(server, config);
  normalizeCallHeaders(server);
  let isServing = false;
  return {
    address: formatAddress(config.GREY_HOST, port),
    get outgoingBytes() {
      return outgoing.bytes;
    },
    setServing: (next) => {
      if (next === isServing) return;
      isServing = next;
      for (const name of names) health.setStatus(name, next ? "SERVING" : "NOT_SERVING");
    },
    flush,
    stop: async (timeoutMs) => {
      const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      // Open health and reflection streams must not delay the stop: the server stops once no call is in flight.
      let timer: NodeJS.Timeout | undefined;
      const expired = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
      });
      await Promise.race([admission.whenIdle().then(flush), closed, expired]);
      clearTimeout(timer);
      server.forceShutdown();
      outgoing.stop();
    },
  };
}

function bind(server: Server, config: Config): Promise<number> {
  const address = formatAddress(config.GREY_HOST, config.GREY_PORT);
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(new SettingError(`GREY_PORT: cannot listen on ${address} (${bindProblem(error)})`));
    });
  });
}

function bindProblem(error: Error): string {
  if (error.message.includes("EADDRINUSE"))
    return "the port is in use; stop the other Grey if one is running, or choose another GREY_PORT";
  if (error.message.includes("EACCES")) return "this user is not permitted to use the port";
  if (error.message.includes("EADDRNOTAVAIL") || error.message.includes("ENOTFOUND"))
    return "GREY_HOST is not an address of this machine";
  return error.message;
}

function flush(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, FLUSH_MS);
  });
}
