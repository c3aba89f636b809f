import type { Http2Server, IncomingHttpHeaders } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { assertPresent } from "../base/assert.js";
import type { Config } from "../config/config.js";

// The HTTP/2 beneath grpc-js, where its own options do not reach. Its fields that are read here are private: a test of each
// behaviour shows that they are still there.

/** Headers of a call beyond which its stream is reset: what GREY_METADATA_BYTES_MAX may say, and as much again. */
const HEADER_LIST_BYTES_MAX = 131_072;
/** As many as fit into the greatest GREY_METADATA_BYTES_MAX, with names of one letter. */
const HEADER_PAIRS_MAX = 2_048;

/**
 * Cancelled calls that a connection may have at once, and a second, before it is closed: the guard against rapid reset. Callers
 * cancel all that they have open when their deadlines pass. Node 20 has its own numbers (1,000 and 33), which cannot be set.
 */
const RESETS = { burst: 10_000, perSecond: 1_000 } as const;

/** Sets what the HTTP/2 servers of this server are made with; to be called before it is bound. */
export function setTransportOptions(server: Server, config: Config): void {
  const options = assertPresent(
    server["commonServerOptions"] as TransportOptions | undefined,
    "grpc-js' HTTP/2 options",
  );
  const resetBurst = Math.max(RESETS.burst, 2 * config.GREY_CONNECTION_STREAMS_MAX);
  Object.assign(options, {
    settings: { maxConcurrentStreams: config.GREY_CONNECTION_STREAMS_MAX, maxHeaderListSize: HEADER_LIST_BYTES_MAX },
    maxHeaderListPairs: HEADER_PAIRS_MAX,
    streamResetBurst: resetBurst,
    streamResetRate: RESETS.perSecond,
    // What arrives of a call after its cancellation is an invalid frame, and the place of a cancelled call is not free at once.
    maxSessionInvalidFrames: resetBurst,
    maxSessionRejectedStreams: resetBurst,
  } satisfies TransportOptions);
}

interface TransportOptions {
  settings?: { maxConcurrentStreams?: number; maxHeaderListSize?: number };
  maxHeaderListPairs?: number;
  streamResetBurst?: number;
  streamResetRate?: number;
  maxSessionInvalidFrames?: number;
  maxSessionRejectedStreams?: number;
}

/** Has the headers of every call tidied before grpc-js reads them; to be called once the server is bound. */
export function normalizeCallHeaders(server: Server): void {
  const servers = assertPresent(
    server["http2Servers"] as ReadonlyMap<Http2Server, unknown> | undefined,
    "HTTP/2 servers",
  );
  for (const http2Server of servers.keys())
    http2Server.prependListener("stream", (_stream, headers) => normalizeHeaders(headers));
}

/** What grpc-js takes for gRPC begins with application/grpc; other encodings and gRPC-Web do too. */
const GRPC = "application/grpc";
const CONTENT_TYPE = /^application\/grpc(\+proto)?\s*(;|$)/i;

const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const MS_OF_UNIT: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};
/** The longest time that a timer of Node counts. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The header that takes the place of a malformed grpc-timeout. */
export const MALFORMED_TIMEOUT = "grpc-timeout-malformed";

/**
 * Changes what grpc-js would misread. A content type that is not gRPC's with protobuf is taken away, so that HTTP 415 is
 * answered. A grpc-timeout beyond what a timer counts is no deadline: nothing is worked on for so long, and a watch has no
 * end. One that is malformed is handed on for the call to be refused.
 */
export function normalizeHeaders(headers: IncomingHttpHeaders): void {
  const contentType = headers["content-type"] ?? "";
  if (contentType !== GRPC) headers["content-type"] = CONTENT_TYPE.test(contentType) ? GRPC : "";
  const timeout = headers["grpc-timeout"];
  if (timeout === undefined) return;
  const [, digits, unit = ""] = (typeof timeout === "string" && TIMEOUT.exec(timeout)) || [];
  if (digits !== undefined && Number(digits) * (MS_OF_UNIT[unit] ?? 0) <= TIMER_MS_MAX) return;
  delete headers["grpc-timeout"];
  if (digits === undefined) headers[MALFORMED_TIMEOUT] = "true";
}
