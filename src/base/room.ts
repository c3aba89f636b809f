/** The encoder of a message: its generated object. */
export interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
}

/** The longest message that gRPC clients accept by default. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** The most bytes that the items of one response may take. The rest is for its other fields. */
export const ANSWER_BYTES_MAX = 3 * 1024 * 1024;

/** The room that a response has for items. */
export interface Room<Item> {
  /** Returns the leading items that still fit. The first item of a response always fits. */
  take(items: readonly Item[]): readonly Item[];
}

export function createRoom<Item>(codec: Codec<Item>): Room<Item> {
  const taken: Item[] = [];
  let estimate = 0;
  let exact: number | undefined;
  const bytesOf = (item: Item): number => codec.encode(item).finish().length + LENGTH_BYTES_MAX;
  return {
    take: (items) => {
      for (const item of items) estimate += estimateBytesMax(item);
      // Nearly always the estimate is small enough, and no item has to be encoded to be measured.
      let end = items.length;
      if (estimate > ANSWER_BYTES_MAX) {
        let bytes = exact ?? taken.reduce((sum, item) => sum + bytesOf(item), 0);
        const full = items.findIndex((item, index) => {
          bytes += bytesOf(item);
          return bytes > ANSWER_BYTES_MAX && taken.length + index > 0;
        });
        exact = bytes;
        if (full !== -1) end = full;
      }
      const fitting = items.slice(0, end);
      taken.push(...fitting);
      return fitting;
    },
  };
}

/** A field's tag and the length of its value. */
const LENGTH_BYTES_MAX = 6;
/** A tag and a varint. */
const NUMBER_BYTES_MAX = 12;

/** Returns an upper bound of a message's encoded size, which is much faster than encoding it. */
export function estimateBytesMax(value: unknown): number {
  // A UTF-16 code unit takes 3 bytes of UTF-8 at the most.
  if (typeof value === "string") return value.length * 3 + LENGTH_BYTES_MAX;
  if (typeof value !== "object" || value === null) return NUMBER_BYTES_MAX;
  if (ArrayBuffer.isView(value)) return value.byteLength + LENGTH_BYTES_MAX;
  let bytes = LENGTH_BYTES_MAX;
  if (Array.isArray(value)) {
    for (const element of value) bytes += estimateBytesMax(element);
    return bytes;
  }
  const message = value as Readonly<Record<string, unknown>>;
  // Names count, since the keys of a map are encoded; the field names of other messages are not.
  for (const name in message) bytes += name.length * 3 + LENGTH_BYTES_MAX + estimateBytesMax(message[name]);
  return bytes;
}
