import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** Beyond this the writer is not kept: one long message would keep its memory for good. */
const KEPT_BYTES_MAX = 64 * 1024;

let writer = new BinaryWriter();

/**
 * The bytes of a message. The generated code calls this instead of making a writer for each message, whose buffer would
 * grow anew from 128 bytes: that is most of what writing a reply costs.
 */
export function serialize<Message>(
  { encode }: { encode(message: Message, to: BinaryWriter): BinaryWriter },
  message: Message,
): Buffer {
  try {
    const bytes = encode(message, writer).finish();
    if (bytes.length > KEPT_BYTES_MAX) writer = new BinaryWriter();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (error) {
    // It holds half a message.
    writer = new BinaryWriter();
    throw error;
  }
}
