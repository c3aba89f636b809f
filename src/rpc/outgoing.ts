import { constants, type Http2Session, type ServerHttp2Stream } from "node:http2";
import {
  Metadata,
  ServerInterceptingCall,
  status,
  type ServerInterceptor,
  type ServerInterceptingCallInterface,
} from "@grpc/grpc-js";

/** The bounds of the bytes that are on their way to clients. */
export interface OutgoingOptions {
  /** For one connection. */
  readonly connectionBytesMax: number;
  /** For all connections. */
  readonly bytesMax: number;
  /** The longest time for which a client may take nothing of an answer. */
  readonly stallMs: number;
}

/** A longer answer is written in pieces, so that its bytes count as taken as they are. */
const PIECE_BYTES_MAX = 65_536;
/** A call with more bytes than this on their way has to wait with its next message. */
const AHEAD_BYTES_MAX = 65_536;
/** The checks for stalled calls within `stallMs`. */
const CHECKS_PER_STALL = 4;

/** A connection with bytes on their way, and its calls; the first call has waited the longest for its client to take something. */
interface Connection {
  bytes: number;
  readonly calls: Set<CountedCall>;
}

/**
 * Counts the bytes that the transport was given and that clients have not taken yet, and bounds them. A client that takes
 * nothing loses only its own calls: they are reset with ENHANCE_YOUR_CALM, which callers see as RESOURCE_EXHAUSTED. What such
 * a call did stays done, and a retry with the same request_id returns its answer.
 */
export class Outgoing {
  readonly #options: OutgoingOptions;
  readonly #connections = new Map<Http2Session, Connection>();
  readonly #timer: NodeJS.Timeout;
  #bytes = 0;

  constructor(options: OutgoingOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#endStalled(), options.stallMs / CHECKS_PER_STALL).unref();
  }

  /** Bytes on their way to all clients. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts what every call sends. It is the first interceptor, next to the transport. */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const { stream } = call as unknown as { readonly stream: ServerHttp2Stream };
    // A stream's handler ends it earlier, with a reason: this is for clients that do not even take that.
    const stallMs = method.responseStream ? 2 * this.#options.stallMs : this.#options.stallMs;
    return new CountedCall(call, stream, method.responseSerialize, stallMs, this);
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

  /** Counts bytes that the call is about to write. Where they exceed a bound, ends the calls that have waited the longest. */
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

  /** Counts bytes no longer: the client has taken them, or never will. */
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
      for (const call of calls) if (now - call.takenAt >= call.stallMs) call.reset();
  }
}

/** Ends the connection's oldest calls until at most `bytesMax` of its bytes are on their way. */
function endOldest({ bytes, calls }: Connection, bytesMax: number): void {
  let left = bytes;
  for (const call of calls) {
    if (left <= bytesMax) return;
    left -= call.heldBytes;
    call.reset();
  }
}

/** A grpc-js call that writes its messages itself, so that each byte is counted until the client has taken it. */
class CountedCall extends ServerInterceptingCall {
  heldBytes = 0;
  /** The time at which the client last took something, or at which the wait for it began. */
  takenAt = 0;
  readonly stallMs: number;
  readonly #call: ServerInterceptingCallInterface;
  readonly #stream: ServerHttp2Stream;
  readonly #serialize: (message: unknown) => Buffer;
  readonly #outgoing: Outgoing;
  #connection: Connection | undefined;
  /** Continues once less is on its way. */
  #resume: (() => void) | undefined;

  constructor(
    call: ServerInterceptingCallInterface,
    stream: ServerHttp2Stream,
    serialize: (message: unknown) => Buffer,
    stallMs: number,
    outgoing: Outgoing,
  ) {
    super(call);
    this.#call = call;
    this.#stream = stream;
    this.#serialize = serialize;
    this.stallMs = stallMs;
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
      bytes = toFrame(this.#serialize(message));
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

  /** Ends the call without its answer, and frees what is held of it. */
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
    // After a reset nothing is counted any more, though the transport still calls back.
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

/** Writes a message as one uncompressed gRPC frame. */
function toFrame(message: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(message.length + 5);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  message.copy(frame, 5);
  return frame;
}
