import { connect, type Socket } from "node:net";

// The minimum of a gRPC client's HTTP/2 (RFC 9113, RFC 7541) for many small calls over a plain socket. A call costs a few
// microseconds instead of some ninety with node:http2, which a small machine would take from the server. Frames that arrive
// together are answered in one write.

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const HEADER_BYTES = 9;
export const FRAME = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8 } as const;
export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;
export const SETTING = { HEADER_TABLE_SIZE: 1, ENABLE_PUSH: 2, INITIAL_WINDOW_SIZE: 4 } as const;
export const WINDOW_DEFAULT = 65_535;
export const WINDOW_MAX = 2 ** 31 - 1;
/** The default maximum frame size. */
const DATA_BYTES_MAX = 16_384;

/** The end of a call: its grpc-status or the kind of break. */
export type CallEnd =
  /** pushbackMs: the server's retry delay. */
  { readonly grpcStatus: number; readonly pushbackMs: number | undefined } | { readonly broken: string };

interface Call {
  readonly onEnd: (end: CallEnd) => void;
}

/** A connection. A call's message must fit the server's initial window, 64 KiB. */
export class RawConnection {
  readonly #socket: Socket;
  readonly #headers: HeaderBlocks;
  readonly #calls = new Map<number, Call>();
  #nextStream = 1;
  #rest: Buffer = Buffer.alloc(0);
  #outgoing: Buffer[] = [];
  #isFlushPlanned = false;
  /** The remaining window of the connection. */
  #sendWindow = WINDOW_DEFAULT;
  /** Calls that wait for this window. */
  #waiting: { readonly stream: number; readonly message: Buffer }[] = [];
  #received = 0;
  #broken: string | undefined;
  #onSettings: () => void = () => undefined;

  /** Connects and waits for the server's settings. */
  static async open(address: string, path: string, deadlineMs: number): Promise<RawConnection> {
    const [host = "", port = ""] = address.split(":");
    const socket = connect({ host, port: Number(port), noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const connection = new RawConnection(socket, headerBlocks(address, path, deadlineMs));
    await new Promise<void>((resolve, reject) => {
      connection.#onSettings = resolve;
      socket.once("close", () => reject(new Error("the server closed the connection")));
    });
    return connection;
  }

  private constructor(socket: Socket, headers: HeaderBlocks) {
    this.#socket = socket;
    this.#headers = headers;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error: NodeJS.ErrnoException) => this.#break(error.code ?? error.name));
    socket.on("close", () => this.#break("closed"));
    // Without a dynamic table, each header block can be decoded by itself.
    const settings = settingsFrame([
      [SETTING.HEADER_TABLE_SIZE, 0],
      [SETTING.ENABLE_PUSH, 0],
      [SETTING.INITIAL_WINDOW_SIZE, WINDOW_MAX],
    ]);
    this.#send(PREFACE, settings, windowUpdate(WINDOW_MAX - WINDOW_DEFAULT));
  }

  get isBroken(): boolean {
    return this.#broken !== undefined;
  }

  /** Begins a call with a framed gRPC message. Returns a function that cancels it. */
  begin(message: Buffer, onEnd: (end: CallEnd) => void): () => void {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    if (this.#broken !== undefined) {
      const broken = this.#broken;
      setImmediate(() => onEnd({ broken }));
      return () => undefined;
    }
    this.#calls.set(stream, { onEnd });
    const block = this.#headers.next();
    this.#send(frameHeader(block.length, FRAME.HEADERS, FLAG.END_HEADERS, stream), block);
    if (this.#waiting.length === 0 && message.length <= this.#sendWindow) this.#sendMessage(stream, message);
    else this.#waiting.push({ stream, message });
    return () => this.#cancel(stream);
  }

  close(): void {
    this.#socket.destroy();
  }

  #sendMessage(stream: number, message: Buffer): void {
    this.#sendWindow -= message.length;
    for (let offset = 0; offset < message.length; offset += DATA_BYTES_MAX) {
      const part = message.subarray(offset, offset + DATA_BYTES_MAX);
      const isLast = offset + DATA_BYTES_MAX >= message.length;
      this.#send(frameHeader(part.length, FRAME.DATA, isLast ? FLAG.END_STREAM : 0, stream), part);
    }
  }

  #cancel(stream: number): void {
    if (!this.#calls.delete(stream)) return;
    this.#waiting = this.#waiting.filter((waiting) => waiting.stream !== stream);
    const cancel = Buffer.alloc(4);
    cancel.writeUInt32BE(8);
    this.#send(frameHeader(4, FRAME.RST_STREAM, 0, stream), cancel);
  }

  #send(...parts: readonly Buffer[]): void {
    this.#outgoing.push(...parts);
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    setImmediate(() => {
      this.#isFlushPlanned = false;
      const bytes = Buffer.concat(this.#outgoing);
      this.#outgoing = [];
      if (this.#broken === undefined) this.#socket.write(bytes);
    });
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = eachFrame(bytes, (type, flags, stream, payload) => this.#take(type, flags, stream, payload));
    if (this.#received > WINDOW_MAX / 4) {
      this.#send(windowUpdate(this.#received));
      this.#received = 0;
    }
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    switch (type) {
      case FRAME.DATA:
        // Only the status determines the outcome of a call.
        this.#received += payload.length;
        if ((flags & FLAG.END_STREAM) !== 0) this.#end(stream, { broken: "no trailers" });
        return;
      case FRAME.HEADERS: {
        if ((flags & FLAG.END_HEADERS) === 0) return this.#break("headers in more than one frame");
        if ((flags & FLAG.END_STREAM) === 0) return;
        const { status, pushback } = trailersIn(unpadded(payload, flags));
        return this.#end(
          stream,
          status === undefined ? { broken: "no grpc-status" } : { grpcStatus: status, pushbackMs: pushback },
        );
      }
      case FRAME.RST_STREAM:
        return this.#end(stream, { broken: `RST_STREAM ${payload.readUInt32BE(0)}` });
      case FRAME.SETTINGS:
        if ((flags & FLAG.ACK) === 0) this.#send(frameHeader(0, FRAME.SETTINGS, FLAG.ACK, 0));
        return this.#onSettings();
      case FRAME.PING:
        if ((flags & FLAG.ACK) === 0)
          this.#send(frameHeader(payload.length, FRAME.PING, FLAG.ACK, 0), Buffer.from(payload));
        return;
      case FRAME.GOAWAY:
        return this.#break(`GOAWAY ${payload.readUInt32BE(4)}`);
      case FRAME.WINDOW_UPDATE:
        if (stream === 0) this.#widen(payload.readUInt32BE(0) & 0x7fffffff);
        return;
    }
  }

  #widen(bytes: number): void {
    this.#sendWindow += bytes;
    while (this.#waiting.length > 0 && this.#waiting[0]!.message.length <= this.#sendWindow) {
      const { stream, message } = this.#waiting.shift()!;
      this.#sendMessage(stream, message);
    }
  }

  #end(stream: number, end: CallEnd): void {
    const call = this.#calls.get(stream);
    this.#calls.delete(stream);
    call?.onEnd(end);
  }

  #break(broken: string): void {
    if (this.#broken !== undefined) return;
    this.#broken = broken;
    this.#socket.destroy();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#waiting = [];
    for (const call of calls) call.onEnd({ broken });
  }
}

/** Passes every complete frame on and returns the rest. */
export function eachFrame(
  bytes: Buffer,
  take: (type: number, flags: number, stream: number, payload: Buffer) => void,
): Buffer {
  let offset = 0;
  while (bytes.length - offset >= HEADER_BYTES) {
    const end = offset + HEADER_BYTES + bytes.readUIntBE(offset, 3);
    if (end > bytes.length) break;
    const stream = bytes.readUInt32BE(offset + 5) & 0x7fffffff;
    take(bytes[offset + 3]!, bytes[offset + 4]!, stream, bytes.subarray(offset + HEADER_BYTES, end));
    offset = end;
  }
  return bytes.subarray(offset);
}

export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * settings.length);
  settings.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  });
  return Buffer.concat([frameHeader(payload.length, FRAME.SETTINGS, 0, 0), payload]);
}

export function frameHeader(length: number, type: number, flags: number, stream: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUIntBE(length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return header;
}

export function windowUpdate(bytes: number): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + 4);
  frameHeader(4, FRAME.WINDOW_UPDATE, 0, 0).copy(frame);
  frame.writeUInt32BE(bytes, HEADER_BYTES);
  return frame;
}

function unpadded(payload: Buffer, flags: number): Buffer {
  const isPadded = (flags & FLAG.PADDED) !== 0;
  const start = (isPadded ? 1 : 0) + ((flags & FLAG.PRIORITY) === 0 ? 0 : 5);
  return payload.subarray(start, payload.length - (isPadded ? payload[0]! : 0));
}

/** The encoded headers of a call: the first block fills the server's table, later ones refer to it. */
interface HeaderBlocks {
  next(): Buffer;
}

/** Indexes in HPACK's static table. */
const STATIC = { AUTHORITY: 1, METHOD_POST: 3, PATH: 4, SCHEME_HTTP: 6, CONTENT_TYPE: 31, COUNT: 61 } as const;

function headerBlocks(address: string, path: string, deadlineMs: number): HeaderBlocks {
  const known = [0x80 | STATIC.METHOD_POST, 0x80 | STATIC.SCHEME_HTTP];
  const added = [
    literal(STATIC.PATH, path),
    literal(STATIC.AUTHORITY, address),
    literal(STATIC.CONTENT_TYPE, "application/grpc"),
    literal("te", "trailers"),
    literal("grpc-timeout", `${deadlineMs}m`),
  ];
  const first = Buffer.concat([Buffer.from(known), ...added]);
  // The latest entry has the lowest index.
  const others = Buffer.from([...known, ...added.map((_, index) => 0x80 | (STATIC.COUNT + added.length - index))]);
  let isFirst = true;
  return {
    next: () => {
      const block = isFirst ? first : others;
      isFirst = false;
      return block;
    },
  };
}

/** Encodes a header to be added to the peer's table; names and values are shorter than 127 bytes. */
export function literal(name: number | string, value: string): Buffer {
  const start =
    typeof name === "number" ? Buffer.from([0x40 | name]) : Buffer.concat([Buffer.from([0x40]), text(name)]);
  return Buffer.concat([start, text(value)]);
}

function text(value: string): Buffer {
  if (value.length >= 127) throw new Error("the header is too long");
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
}

// Names in plain text and in HPACK's Huffman code, which servers send because it is shorter.
const STATUS_NAMES = [Buffer.from("grpc-status", "latin1"), Buffer.from("9acac8b21234da8f", "hex")];
const PUSHBACK_NAMES = [
  Buffer.from("grpc-retry-pushback-ms", "latin1"),
  Buffer.from("9acac8b5854d9e96aed44f18c9d56a51", "hex"),
];

/** Reads the relevant numbers from a header block without a dynamic table. */
function trailersIn(block: Buffer): { status?: number; pushback?: number } {
  const found: { status?: number; pushback?: number } = {};
  let offset = 0;
  let length = 0;

  /** Reads an integer with a prefix of this many bits (RFC 7541, section 5.1). */
  function integer(bits: number): number {
    const limit = (1 << bits) - 1;
    let value = block[offset++]! & limit;
    if (value < limit) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = block[offset++]!;
      value += (byte & 127) << shift;
      if (byte < 128) return value;
    }
  }

  /** Skips a string. Returns its offset and sets `length`. */
  function string(): number {
    length = integer(7);
    const start = offset;
    offset += length;
    return start;
  }

  while (offset < block.length) {
    const byte = block[offset]!;
    if ((byte & 0x80) !== 0) {
      integer(7);
    } else if ((byte & 0xe0) === 0x20) {
      integer(5);
    } else {
      const name = integer((byte & 0x40) === 0 ? 4 : 6);
      let key: "status" | "pushback" | undefined;
      if (name === 0) {
        const start = string();
        const written = block.subarray(start, start + length);
        if (STATUS_NAMES.some((one) => written.equals(one))) key = "status";
        else if (PUSHBACK_NAMES.some((one) => written.equals(one))) key = "pushback";
      }
      const isHuffman = (block[offset]! & 0x80) !== 0;
      const start = string();
      const value = block.subarray(start, start + length);
      if (key !== undefined) found[key] = isHuffman ? huffmanNumber(value) : Number(value.toString("latin1"));
    }
  }
  return found;
}

/** Decodes a decimal number in HPACK's Huffman code (RFC 7541, appendix B): 0 to 2 have five bits, 3 to 9 six, padded with ones. */
function huffmanNumber(bytes: Buffer): number {
  let value = 0;
  let bits = 0;
  let count = 0;
  for (const byte of bytes) {
    bits = (bits << 8) | byte;
    count += 8;
    while (count >= 5) {
      const five = (bits >> (count - 5)) & 0x1f;
      if (five <= 2) {
        value = value * 10 + five;
        count -= 5;
      } else {
        if (count < 6) break;
        const six = (bits >> (count - 6)) & 0x3f;
        if (six > 0x1f) return value;
        value = value * 10 + six - 0x19 + 3;
        count -= 6;
      }
    }
    bits &= (1 << count) - 1;
  }
  return value;
}
