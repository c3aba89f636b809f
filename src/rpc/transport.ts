import type { Http2Server, IncomingHttpHeaders } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { assertPresent } from "../base/assert.js";
import type { Config } from "../config/config.js";

// The HTTP/2 layer beneath grpc-js, which its own options do not reach. The fields that are read here are private; each
// behaviour has a test, which fails if they change.

/** A call with longer headers is reset: twice the greatest GREY_METADATA_BYTES_MAX. */
const HEADER_LIST_BYTES_MAX = 131_072;
/** As many headers with names of one letter as fit into the greatest GREY_METADATA_BYTES_MAX. */
const HEADER_PAIRS_MAX = 2_048;

/**
 * The guard against rapid reset: a connection is closed when it cancels more calls at once, or per second. Callers cancel
 * everything that they have open when their deadlines pass. Node 20 has fixed numbers of its own (1,000 and 33).
 */
const RESETS = { burst: 10_000, perSecond: 1_000 } as const;

/** Sets the options with which the server creates its HTTP/2 servers. Call it before the server is bound. */
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
    // Frames that arrive after a call's cancellation are invalid, and its stream is not freed at once.
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

/** Normalizes the headers of every call before grpc-js reads them. Call it once the server is bound. */
export function normalizeCallHeaders(server: Server): void {
  const servers = assertPresent(
    server["http2Servers"] as ReadonlyMap<Http2Server, unknown> | undefined,
    "HTTP/2 servers",
  );
  for (const http2Server of servers.keys())
    http2Server.prependListener("stream", (_stream, headers) => normalizeHeaders(headers));
}

/** grpc-js accepts every content type that begins with this, also those of other encodings and of gRPC-Web. */
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
/** The longest delay of a Node timer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The header that takes the place of a malformed grpc-timeout. */
export const MALFORMED_TIMEOUT = "grpc-timeout-malformed";

/**
 * Changes headers that grpc-js would misread. A content type other than gRPC with protobuf is removed, so that the answer is
 * HTTP 415. A grpc-timeout beyond the longest timer is removed: no call takes that long, and a stream may be open without a
 * deadline. A malformed one is renamed, so that the call is refused.
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
