/** How a message is written: a generated message's own object. */
export interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
}

/** The longest message that clients take unless they say otherwise. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** What the items of one answer may take, beside which others of its fields have room. */
export const ANSWER_BYTES_MAX = 3 * 1024 * 1024;

/** The room that an answer has for items. */
export interface Room<Item> {
  /** The first of these items that still fit, in their order. The first item of an answer always does. */
  take(items: readonly Item[]): readonly Item[];
}

export function createRoom<Item>(codec: Codec<Item>): Room<Item> {
  const taken: Item[] = [];
  let most = 0;
  let exact: number | undefined;
  const bytesOf = (item: Item): number => codec.encode(item).finish().length + LENGTH_BYTES_MAX;
  return {
    take: (items) => {
      for (const item of items) most += estimateBytesMax(item);
      // Nearly always that is little enough, and nothing is written to be measured.
      let end = items.length;
      if (most > ANSWER_BYTES_MAX) {
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

/** The tag of a field and the length of what it holds. */
const LENGTH_BYTES_MAX = 6;
/** A tag and a varint. */
const NUMBER_BYTES_MAX = 12;

/** An upper bound of what any message takes: much quicker than writing it. */
export function estimateBytesMax(value: unknown): number {
  // A UTF-16 code unit takes 3 bytes of UTF-8 at the most.
  if (typeof value === "string") return value.length * 3 + LENGTH_BYTES_MAX;
  if (typeof value !== "object" || value === null) return NUMBER_BYTES_MAX;
  if (ArrayBuffer.isView(value)) return value.byteLength + LENGTH_BYTES_MAX;
  let bytes = LENGTH_BYTES_MAX;
  if (Array.isArray(value)) {
    for (const one of value) bytes += estimateBytesMax(one);
    return bytes;
  }
  const message = value as Readonly<Record<string, unknown>>;
  // Names count, since those of a map are written; of any other message they are not.
  for (const name in message) bytes += name.length * 3 + LENGTH_BYTES_MAX + estimateBytesMax(message[name]);
  return bytes;
}
