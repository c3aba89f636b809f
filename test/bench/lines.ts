import { status as grpcStatus } from "@grpc/grpc-js";
import type { IncomingHttpHeaders } from "node:http2";
import { callHeaders, spreadConnections, openConnections, type Connection } from "./connections.js";
import { FRAME_HEADER_BYTES } from "./frames.js";
import { RawConnection, type CallEnd } from "./raw-http2.js";

/**
 * Receives the end of a call, once: the name of its grpc-status or the kind of break; the reply, if the line keeps replies; and
 * the server's retry delay, if any.
 */
export type OnEnd = (status: string, answer: Uint8Array | undefined, pushbackMs?: number) => void;

/** A connection for calls of one method. */
export interface Line {
  /** Begins a call with a framed message. Returns a function that cancels it. */
  begin(message: Buffer, onEnd: OnEnd): () => void;
  close(): void;
}

export const BROKEN = "BROKEN";

/** Opens lines for many small calls that discard replies. */
export async function openRawLines(
  addresses: readonly string[],
  path: string,
  deadlineMs: number,
  inFlight: number,
): Promise<Line[]> {
  return Promise.all(
    spreadConnections(addresses, inFlight).map(async (address) => {
      const open = () => RawConnection.open(address, path, deadlineMs);
      return rawLine(await open(), open);
    }),
  );
}

function rawLine(first: RawConnection, open: () => Promise<RawConnection>): Line {
  let connection = first;
  let opening: Promise<void> | undefined;

  /** Opens one new connection for all waiting calls. */
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
          onEnd(describeEnd(end), undefined, "broken" in end ? undefined : end.pushbackMs),
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

function describeEnd(end: CallEnd): string {
  if ("broken" in end) return `${BROKEN} ${end.broken}`;
  return grpcStatus[end.grpcStatus] ?? `STATUS ${end.grpcStatus}`;
}

/** Opens lines for calls of any size over node:http2, which keep replies. */
export async function openLines(
  addresses: readonly string[],
  path: string,
  deadlineMs: number,
  inFlight: number,
): Promise<Line[]> {
  const headers = callHeaders(path, deadlineMs);
  return (await openConnections(addresses, inFlight)).map((connection) => createLine(connection, headers));
}

function createLine(connection: Connection, headers: Record<string, string>): Line {
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
      // A refusal is in the only headers; the status of a reply is in the trailers.
      const onHeaders = (received: IncomingHttpHeaders): void => {
        const code = received["grpc-status"];
        if (code !== undefined) status = describeEnd({ grpcStatus: Number(code), pushbackMs: undefined });
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
