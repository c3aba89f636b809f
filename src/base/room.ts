/** How a message is written: a generated message's own object. */
export interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
}

/** The longest message that clients take unless they say otherwise. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/** What the items of one answer may take, beside which others of its fields have room. */
export const ANSWER_BYTES_MAX = 3 * 1024 * 1024;

/** A thousand of no more than this fit into an answer whatever they are: they are not measured exactly. */
const SMALL_BYTES_MAX = ANSWER_BYTES_MAX / 1_000;

/** The room that an answer has for items. */
export interface Room<Item> {
  /** The first of these items that still fit, in their order. The first item of an answer always does. */
  take(items: readonly Item[]): readonly Item[];
}

export function createRoom<Item>(codec: Codec<Item>): Room<Item> {
  let bytes = 0;
  let isEmpty = true;
  return {
    take: (items) => {
      const end = items.findIndex((item) => {
        bytes += bytesOf(codec, item);
        const isFull = !isEmpty && bytes > ANSWER_BYTES_MAX;
        isEmpty = false;
        return isFull;
      });
      return end === -1 ? items : items.slice(0, end);
    },
  };
}

/** The bytes that the message takes in a list; for a small one, at the most. */
function bytesOf<Item>(codec: Codec<Item>, message: Item): number {
  const most = mostBytesOf(message);
  return most <= SMALL_BYTES_MAX ? most : codec.encode(message).finish().length + LENGTH_BYTES_MAX;
}

/** The tag of a field and the length of what it holds. */
const LENGTH_BYTES_MAX = 6;
/** A tag and a varint. */
const NUMBER_BYTES_MAX = 12;

/** An upper bound of what any message takes: much quicker than writing it. */
export function mostBytesOf(value: unknown): number {
  // A UTF-16 code unit takes 3 bytes of UTF-8 at the most.
  if (typeof value === "string") return value.length * 3 + LENGTH_BYTES_MAX;
  if (typeof value !== "object" || value === null) return NUMBER_BYTES_MAX;
  if (ArrayBuffer.isView(value)) return value.byteLength + LENGTH_BYTES_MAX;
  // Names count, since those of a map are written; of any other message they are not.
  let bytes = LENGTH_BYTES_MAX;
  for (const [name, one] of Object.entries(value)) bytes += name.length * 3 + LENGTH_BYTES_MAX + mostBytesOf(one);
  return bytes;
}
