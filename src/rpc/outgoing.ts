import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import {
  Metadata,
  ServerInterceptingCall,
  status,
  type ServerInterceptor,
  type ServerInterceptingCallInterface,
} from "@grpc/grpc-js";

/** How much may be on its way to clients. */
export interface OutgoingOptions {
  /** Of one connection. */
  readonly connectionBytesMax: number;
  /** Of all connections. */
  readonly bytesMax: number;
  /** How long a client may take nothing of an answer. */
  readonly stallMs: number;
}

/** A longer answer is written piece by piece, so that its bytes count as taken when they are. */
const PIECE_BYTES_MAX = 65_536;
/** So much of a call may be on its way before its next message has to wait. */
const AHEAD_BYTES_MAX = 65_536;
/** How often within the time of a stall it is looked for. */
const LOOKS = 4;

/** A connection with bytes on their way, and its calls, of which the first has had nothing taken for the longest. */
interface Connection {
  bytes: number;
  readonly calls: Set<CountedCall>;
}

/**
 * Counts the bytes that were given to the transport and that their clients have not taken yet, and bounds them. A client that
 * takes nothing loses its own calls only: they are reset with ENHANCE_YOUR_CALM, which callers see as RESOURCE_EXHAUSTED.
 * What such a call did stays done; the same request sent again gets its answer.
 */
export class Outgoing {
  readonly #options: OutgoingOptions;
  readonly #connections = new Map<Http2Session, Connection>();
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;

  constructor(options: OutgoingOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#endStalled(), Math.max(10, options.stallMs / LOOKS)).unref();
  }

  /** Bytes on their way to all clients. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts what every call sends; the first of the interceptors, next to the transport. */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
    // A stream's own handler ends it first, with a reason: this is for clients that do not even take that.
    const patienceMs = method.responseStream ? 2 * this.#options.stallMs : this.#options.stallMs;
    return new CountedCall(call, stream, method.responseSerialize, patienceMs, this);
  };

  connectionOf(session: Http2Session): Connection {
    let connection = this.#connections.get(session);
    if (connection === undefined) {
      connection = { bytes: 0, calls: new Set() };
      this.#connections.set(session, connection);
      session.once("close", () => this.#connections.delete(session));
    }
    return connection;
  }

  /** Counts bytes that the call is about to write. Ends calls where that is too much: those of which nothing was taken for the longest. */
  hold(call: CountedCall, connection: Connection, bytes: number): void {
    connection.calls.add(call);
    connection.bytes += bytes;
    this.#bytes += bytes;
    endOldest(connection, this.#options.connectionBytesMax);
    while (this.#bytes > this.#options.bytesMax) {
      const greatest = [...this.#connections.values()].reduce((one, other) => (one.bytes >= other.bytes ? one : other));
      if (greatest.bytes === 0) return;
      endOldest(greatest, Math.max(0, greatest.bytes - (this.#bytes - this.#options.bytesMax)));
    }
  }

  /** The client has taken bytes, or never will. */
  release(call: CountedCall, connection: Connection, bytes: number): void {
    connection.bytes -= bytes;
    this.#bytes -= bytes;
    connection.calls.delete(call);
    if (call.heldBytes > 0) connection.calls.add(call);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #endStalled(): void {
    const now = performance.now();
    for (const { calls } of this.#connections.values())
      for (const call of calls) if (now - call.takenAt >= call.patienceMs) call.reset();
  }
}

/** Ends calls until no more than so many bytes of the connection are on their way. */
function endOldest({ bytes, calls }: Connection, bytesMax: number): void {
  let left = bytes;
  for (const call of calls) {
    if (left <= bytesMax) return;
    left -= call.heldBytes;
    call.reset();
  }
}

/** A call of grpc-js that writes its messages itself, so that each byte is counted until the client has taken it. */
class CountedCall extends ServerInterceptingCall {
  heldBytes = 0;
  /** When the client took something last, or began not to. */
  takenAt = 0;
  readonly patienceMs: number;
  readonly #call: ServerInterceptingCallInterface;
  readonly #stream: ServerHttp2Stream;
  readonly #serialize: (message: unknown) => Buffer;
  readonly #outgoing: Outgoing;
  #connection: Connection | undefined;
  /** Goes on once less is on its way. */
  #resume: (() => void) | undefined;

  constructor(
    call: ServerInterceptingCallInterface,
    stream: ServerHttp2Stream,
    serialize: (message: unknown) => Buffer,
    patienceMs: number,
    outgoing: Outgoing,
  ) {
    super(call);
    this.#call = call;
    this.#stream = stream;
    this.#serialize = serialize;
    this.patienceMs = patienceMs;
    this.#outgoing = outgoing;
  }

  override start(listener: Parameters<ServerInterceptingCallInterface["start"]>[0]): void {
    this.#call.start(listener);
  }

  override sendMetadata(metadata: Metadata): void {
    this.#call.sendMetadata(metadata);
  }

  override sendStatus(ending: Parameters<ServerInterceptingCallInterface["sendStatus"]>[0]): void {
    this.#call.sendStatus(ending);
  }

  /** @param callback called once the next message may be sent */
  override sendMessage(message: unknown, callback: () => void): void {
    if (this.#stream.closed || this.#stream.destroyed) return;
    let bytes: Buffer;
    try {
      bytes = framed(this.#serialize(message));
    } catch {
      this.#call.sendStatus({ code: status.INTERNAL, details: "Error serializing response", metadata: null });
      return;
    }
    this.#hold(bytes.length);
    this.#call.sendMetadata(new Metadata());
    this.#write(bytes, 0, callback);
  }

  #write(bytes: Buffer, offset: number, callback: () => void): void {
    // The call was reset, or its deadline has ended it.
    if (this.#stream.closed || this.#stream.destroyed || this.#stream.writableEnded) return;
    const end = Math.min(bytes.length, offset + PIECE_BYTES_MAX);
    const piece = offset === 0 && end === bytes.length ? bytes : bytes.subarray(offset, end);
    this.#stream.write(piece, (error) => {
      if (error !== null && error !== undefined) return;
      this.#release(piece.length);
      if (end < bytes.length) this.#write(bytes, end, callback);
    });
    if (end < bytes.length) return;
    if (this.heldBytes <= AHEAD_BYTES_MAX) callback();
    else this.#resume = callback;
  }

  /** Ends the call without its answer; nothing of it is held any more. */
  reset(): void {
    this.#release(this.heldBytes);
    this.#resume = undefined;
    this.#stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    // Frees what the transport holds.
    this.#stream.destroy();
  }

  #hold(bytes: number): void {
    if (this.#connection === undefined) {
      const { session } = this.#stream;
      if (session === undefined) return;
      this.#connection = this.#outgoing.connectionOf(session);
      this.#stream.once("close", () => this.#release(this.heldBytes));
    }
    if (this.heldBytes === 0) this.takenAt = performance.now();
    this.heldBytes += bytes;
    this.#outgoing.hold(this, this.#connection, bytes);
  }

  #release(bytes: number): void {
    // After a reset nothing is counted, though the transport still tells what became of it.
    const released = Math.min(bytes, this.heldBytes);
    if (released === 0 || this.#connection === undefined) return;
    this.heldBytes -= released;
    this.takenAt = performance.now();
    this.#outgoing.release(this, this.#connection, released);
    if (this.#resume === undefined || this.heldBytes > AHEAD_BYTES_MAX) return;
    const resume = this.#resume;
    this.#resume = undefined;
    resume();
  }
}

/** A message as one gRPC frame, not compressed. */
function framed(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(message.length + 5);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
}
