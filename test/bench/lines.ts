import { status as grpcStatus } from "@grpc/grpc-js";
import type { IncomingHttpHeaders } from "node:http2";
import { callHeaders, connectionCount, openConnections, type Connection } from "./connections.js";
import { FRAME_HEADER_BYTES } from "./frames.js";
import { RawConnection, type CallEnd } from "./raw-http2.js";

/**
 * Told once of how a call ended: the name of its grpc-status, or how it broke; its answer, where lines keep answers; and
 * how long the server wants the caller to wait, when it says so.
 */
export type OnEnd = (status: string, answer: Uint8Array | undefined, pushbackMs?: number) => void;

/** A connection on which calls of one method are made. */
export interface Line {
  /** Begins a call with a framed message. Returns what cancels it. */
  begin(message: Buffer, onEnd: OnEnd): () => void;
  close(): void;
}

export const BROKEN = "BROKEN";

/** Lines for many small calls whose answers nobody reads. */
export async function openRawLines(
  address: string,
  path: string,
  deadlineMs: number,
  inFlight: number,
): Promise<Line[]> {
  const open = () => RawConnection.open(address, path, deadlineMs);
  return Promise.all(Array.from({ length: connectionCount(inFlight) }, async () => rawLine(await open(), open)));
}

function rawLine(first: RawConnection, open: () => Promise<RawConnection>): Line {
  let connection = first;
  let opening: Promise<void> | undefined;

  /** One new connection for all calls that wait for it. */
  function reopen(): Promise<void> {
    opening ??= open()
      .then((next) => {
        connection = next;
      })
      .finally(() => {
        opening = undefined;
      });
    return opening;
  }

  return {
    begin: (message, onEnd) => {
      const begin = (): (() => void) =>
        connection.begin(message, (end) =>
          onEnd(statusOf(end), undefined, "broken" in end ? undefined : end.pushbackMs),
        );
      if (!connection.isBroken) return begin();
      let cancel: (() => void) | undefined;
      let isCancelled = false;
      reopen().then(
        () => {
          if (!isCancelled) cancel = begin();
        },
        (error: unknown) => {
          if (!isCancelled) onEnd(`${BROKEN} ${String(error)}`, undefined);
        },
      );
      return () => {
        isCancelled = true;
        cancel?.();
      };
    },
    close: () => connection.close(),
  };
}

function statusOf(end: CallEnd): string {
  if ("broken" in end) return `${BROKEN} ${end.broken}`;
  return grpcStatus[end.grpcStatus] ?? `STATUS ${end.grpcStatus}`;
}

/** Lines for calls of any size, through node:http2; they keep the answers. */
export async function openLines(address: string, path: string, deadlineMs: number, inFlight: number): Promise<Line[]> {
  const headers = callHeaders(path, deadlineMs);
  return (await openConnections(address, inFlight)).map((connection) => lineOf(connection, headers));
}

function lineOf(connection: Connection, headers: Record<string, string>): Line {
  return {
    begin: (message, onEnd) => {
      const stream = connection.session.request(headers);
      const chunks: Buffer[] = [];
      let status: string | undefined;
      let isOver = false;
      const end = (how: string, answer?: Uint8Array): void => {
        if (isOver) return;
        isOver = true;
        onEnd(how, answer);
      };
      // A refusal comes as the only headers; an answer's status comes in the trailers.
      const onHeaders = (received: IncomingHttpHeaders): void => {
        const code = received["grpc-status"];
        if (code !== undefined) status = statusOf({ grpcStatus: Number(code), pushbackMs: undefined });
      };
      stream.on("response", onHeaders);
      stream.on("trailers", onHeaders);
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        if (status !== undefined) end(status, Buffer.concat(chunks).subarray(FRAME_HEADER_BYTES));
      });
      stream.on("error", (error: NodeJS.ErrnoException) => end(`${BROKEN} ${error.code ?? error.name}`));
      stream.on("close", () => end(status ?? `${BROKEN} RST_STREAM ${stream.rstCode}`));
      stream.end(message);
      return () => {
        isOver = true;
        stream.close(8 /* NGHTTP2_CANCEL */);
      };
    },
    close: () => connection.close(),
  };
}
