import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { Client, credentials, Metadata, status, type ClientOptions, type ServiceError } from "@grpc/grpc-js";
import { CallError } from "./client.js";

/** The result of a raw call. */
export type RawAnswer =
  | { readonly bytes: Buffer; readonly error: undefined; readonly trailers: Metadata }
  | { readonly error: CallError; readonly trailers: Metadata };

/** A gRPC client that sends raw bytes to any method. */
export interface RawClient {
  /** @param path such as `/grey.user.v1.UserService/GetUser` */
  call(path: string, bytes: Uint8Array, options?: RawOptions): Promise<RawAnswer>;
  /** Sends one message on a bidirectional stream and returns the first reply. */
  stream(path: string, bytes: Uint8Array, options?: RawOptions): Promise<RawAnswer>;
  /** Opens a server stream and returns its first message. */
  watch(path: string, bytes: Uint8Array, options?: RawOptions): Promise<RawAnswer>;
  close(): void;
}

export interface RawOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** The deadline; by default none. */
  readonly timeoutMs?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** @param options clients with the same options share a connection */
export function connectRaw(address: string, options: Partial<ClientOptions> = {}): RawClient {
  const client = new Client(address, credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
    ...options,
  });
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    stream: (path, bytes, { headers, timeoutMs } = {}) =>
      new Promise((resolve) => {
        let reply: Buffer = Buffer.alloc(0);
        const started = client.makeBidiStreamRequest(
          path,
          same,
          same,
          createMetadata(headers),
          createOptions(timeoutMs),
        );
        started.on("data", (received: Buffer) => (reply = received));
        // The status says it too.
        started.on("error", () => undefined);
        started.on("status", ({ code, details, metadata: trailers }) => {
          resolve(
            code === status.OK
              ? { bytes: reply, error: undefined, trailers }
              : {
                  error: new CallError(Object.assign(new Error(details), { code, details, metadata: trailers })),
                  trailers,
                },
          );
        });
        started.end(Buffer.from(bytes));
      }),
    watch: (path, bytes, { headers, timeoutMs } = {}) =>
      new Promise((resolve) => {
        const started = client.makeServerStreamRequest(
          path,
          same,
          same,
          Buffer.from(bytes),
          createMetadata(headers),
          createOptions(timeoutMs),
        );
        started.on("data", (reply: Buffer) => {
          resolve({ bytes: reply, error: undefined, trailers: new Metadata() });
          started.cancel();
        });
        // The status says it too.
        started.on("error", () => undefined);
        started.on("status", ({ code, details, metadata: trailers }) => {
          const error = new CallError(Object.assign(new Error(details), { code, details, metadata: trailers }));
          resolve({ error, trailers });
        });
      }),
    call: (path, bytes, { headers, timeoutMs, signal } = {}) =>
      new Promise((resolve) => {
        let answer: { error: ServiceError } | { bytes: Buffer };
        const started = client.makeUnaryRequest(
          path,
          same,
          same,
          Buffer.from(bytes),
          createMetadata(headers),
          createOptions(timeoutMs),
          (error, reply) => {
            answer = error === null ? { bytes: reply ?? Buffer.alloc(0) } : { error };
          },
        );
        signal?.addEventListener("abort", () => started.cancel());
        // It comes after the callback.
        started.on("status", ({ metadata: trailers }) => {
          resolve(
            "error" in answer
              ? { error: new CallError(answer.error), trailers }
              : { bytes: answer.bytes, error: undefined, trailers },
          );
        });
      }),
    close: () => client.close(),
  };
}

function createMetadata(headers: Readonly<Record<string, string>> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function createOptions(timeoutMs: number | undefined): { deadline?: number } {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

/** The end of a bare HTTP/2 request: its last headers, or undefined if the stream or connection was aborted. */
export type BareEnding = IncomingHttpHeaders | undefined;

/**
 * Sends one bare HTTP/2 request, for cases that a gRPC client cannot produce.
 * @param body raw gRPC frames
 */
export function postBare(
  address: string,
  path: string,
  body: Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<BareEnding> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${address}`);
    let last: BareEnding;
    const end = (): void => {
      resolve(last);
      session.destroy();
    };
    session.on("error", end);
    session.on("close", end);
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    stream.on("response", (response) => {
      if (response["grpc-status"] !== undefined) last = response;
    });
    stream.on("trailers", (trailers) => (last = trailers));
    stream.on("error", () => undefined);
    stream.on("close", end);
    stream.resume();
    stream.end(Buffer.from(body));
  });
}

/** Wraps the bytes in a gRPC frame. */
export function frame(bytes: Uint8Array, { isCompressed = false } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(isCompressed ? 1 : 0, 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
