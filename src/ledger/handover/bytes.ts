import type { Uuid } from "../../base/ids.js";

const BYTES_AT_FIRST = 4_096;
const ID_CHARS = 36;
/** The optional number that stands for none. */
const NONE = -(2n ** 63n);

/** Writes values one after the other. */
export class Writer {
  #buffer = Buffer.allocUnsafe(BYTES_AT_FIRST);
  // Without the two extra bigints that Buffer.writeBigInt64LE() creates for each.
  #view = viewOf(this.#buffer);
  #length = 0;

  byte(value: number): void {
    const offset = this.#take(1);
    this.#buffer[offset] = value;
  }

  /** Writes a number from 0 to 2³² − 1. */
  count(value: number): void {
    const offset = this.#take(4);
    this.#view.setUint32(offset, value);
  }

  int64(value: bigint): void {
    const offset = this.#take(8);
    this.#view.setBigInt64(offset, value);
  }

  /** Writes an int64 above the least one, or none. */
  optional(value: bigint | null): void {
    this.int64(value ?? NONE);
  }

  id(id: Uuid): void {
    if (id.length !== ID_CHARS) throw new TypeError("an id is not a UUID");
    const offset = this.#take(ID_CHARS);
    for (let index = 0; index < ID_CHARS; index += 1) this.#buffer[offset + index] = id.charCodeAt(index);
  }

  text(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.count(bytes);
    const offset = this.#take(bytes);
    if (bytes > 0) this.#buffer.write(text, offset);
  }

  bytes(bytes: Buffer): void {
    this.count(bytes.length);
    const offset = this.#take(bytes.length);
    bytes.copy(this.#buffer, offset);
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Makes room for so many bytes, maybe in another buffer. @returns the offset at which they begin */
  #take(bytes: number): number {
    const offset = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, offset);
      this.#buffer = larger;
      this.#view = viewOf(larger);
    }
    return offset;
  }
}

/** Reads what a Writer has written, in the same order. Throws a RangeError beyond the end. */
export class Reader {
  readonly #buffer: Buffer;
  readonly #view: DataView;
  #offset = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#view = viewOf(buffer);
  }

  byte(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  count(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  int64(): bigint {
    return this.#view.getBigInt64(this.#skip(8));
  }

  optional(): bigint | null {
    const value = this.int64();
    return value === NONE ? null : value;
  }

  id(): Uuid {
    const start = this.#skip(ID_CHARS);
    return this.#buffer.toString("latin1", start, start + ID_CHARS);
  }

  text(): string {
    const bytes = this.count();
    const start = this.#skip(bytes);
    return bytes === 0 ? "" : this.#buffer.toString("utf8", start, start + bytes);
  }

  /** Reads a count, and as many items. */
  list<T>(read: (reader: Reader) => T): T[] {
    const items: T[] = [];
    for (let left = this.count(); left > 0; left -= 1) items.push(read(this));
    return items;
  }

  bytes(): Buffer {
    const bytes = this.count();
    const start = this.#skip(bytes);
    return this.#buffer.subarray(start, start + bytes);
  }

  #skip(bytes: number): number {
    const start = this.#offset;
    this.#offset += bytes;
    if (this.#offset > this.#buffer.length) throw new RangeError("the frame ends too early");
    return start;
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
