import { assert } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import { isInt64 } from "../base/money.js";

// PostgreSQL's binary format of a one-dimensional array. The driver sends a Buffer unchanged as a binary parameter, which costs
// both sides less than array text. Source: PostgreSQL's array_recv and array_send (utils/adt/arrayfuncs.c).

const OID = { INT2: 21, INT8: 20, TEXT: 25, UUID: 2950, TIMESTAMPTZ: 1184 } as const;
const HEADER_BYTES = 20;

/** Microseconds from Grey's epoch, 1970, to PostgreSQL's, 2000. */
const PG_EPOCH_MICROS = 946_684_800_000_000n;

/** Encodes a parameter for `$n::uuid[]`. */
export function uuidArray(ids: readonly (Uuid | null)[]): Buffer {
  return encode(OID.UUID, ids, 16, writeUuid);
}

/** Writes a UUID digit by digit; Buffer.write() would need a copy of the string without its hyphens. */
function writeUuid(view: DataView, offset: number, id: Uuid): void {
  let known = id.length === 36 ? 0 : -1;
  for (let index = 0; index < 16; index += 1) {
    const position = HEX_POSITIONS[index] ?? 0;
    const high = NIBBLES[id.charCodeAt(position)] ?? -1;
    const low = NIBBLES[id.charCodeAt(position + 1)] ?? -1;
    known |= high | low;
    view.setUint8(offset + index, (high << 4) | low);
  }
  assert(known >= 0, "an id is not a UUID");
}

/** The positions of the pairs of digits between the hyphens. */
const HEX_POSITIONS = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
/** The value of each digit by its character code; -1 for other characters. */
const NIBBLES = Int8Array.from({ length: 128 }, (_, code) => "0123456789abcdef".indexOf(String.fromCharCode(code)));

/** Encodes a parameter for `$n::bigint[]`. */
export function int8Array(values: readonly (bigint | null)[]): Buffer {
  return encode(OID.INT8, values, 8, writeInt64);
}

/** Encodes a parameter for `$n::smallint[]`. */
export function int2Array(values: readonly (number | null)[]): Buffer {
  return encode(OID.INT2, values, 2, (view, offset, value) => view.setInt16(offset, value));
}

/** Encodes a parameter for `$n::timestamptz[]`, from microseconds since 1970. */
export function timestampArray(micros: readonly (bigint | null)[]): Buffer {
  return encode(OID.TIMESTAMPTZ, micros, 8, (view, offset, value) => writeInt64(view, offset, value - PG_EPOCH_MICROS));
}

/** Writes an int64 without the two extra bigints that Buffer.writeBigInt64BE() creates for each. */
function writeInt64(view: DataView, offset: number, value: bigint): void {
  assert(isInt64(value), "a number exceeds int64");
  view.setBigInt64(offset, value);
}

/** Encodes a parameter for `$n::text[]`. */
export function textArray(values: readonly (string | null)[]): Buffer {
  if (values.length === 0) return emptyArray(OID.TEXT);
  let size = HEADER_BYTES + 4 * values.length;
  for (const value of values) if (value !== null) size += Buffer.byteLength(value);
  const buffer = Buffer.allocUnsafe(size);
  let offset = writeHeader(buffer, OID.TEXT, values.length);
  for (const value of values) {
    if (value === null) {
      offset = buffer.writeInt32BE(-1, offset);
    } else {
      const written = buffer.write(value, offset + 4);
      buffer.writeInt32BE(written, offset);
      offset += 4 + written;
    }
  }
  return buffer;
}

function encode<T>(
  oid: number,
  values: readonly (T | null)[],
  bytes: number,
  write: (view: DataView, offset: number, value: T) => void,
): Buffer {
  if (values.length === 0) return emptyArray(oid);
  const buffer = Buffer.allocUnsafe(HEADER_BYTES + values.length * (4 + bytes));
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  let offset = writeHeader(buffer, oid, values.length);
  for (const value of values) {
    if (value === null) {
      view.setInt32(offset, -1);
      offset += 4;
    } else {
      view.setInt32(offset, bytes);
      write(view, offset + 4, value);
      offset += 4 + bytes;
    }
  }
  return buffer.subarray(0, offset);
}

/** Returns an array without elements: the same one each time, since most batches send many. */
function emptyArray(oid: number): Buffer {
  let buffer = emptyArrays.get(oid);
  if (buffer === undefined) {
    buffer = Buffer.alloc(HEADER_BYTES);
    writeHeader(buffer, oid, 0);
    emptyArrays.set(oid, buffer);
  }
  return buffer;
}

const emptyArrays = new Map<number, Buffer>();

function writeHeader(buffer: Buffer, oid: number, length: number): number {
  buffer.writeInt32BE(1, 0); // dimensions
  buffer.writeInt32BE(1, 4); // may hold nulls
  buffer.writeInt32BE(oid, 8);
  buffer.writeInt32BE(length, 12);
  buffer.writeInt32BE(1, 16); // lower bound
  return HEADER_BYTES;
}
