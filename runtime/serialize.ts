import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** The longest message after which the writer is reused: a longer one would hold its memory permanently. */
const REUSED_BYTES_MAX = 64 * 1024;

let writer = new BinaryWriter();

/**
 * Encodes a message. The generated code calls this instead of creating a writer for each message, whose buffer would grow
 * anew from 128 bytes: that is most of the cost of writing a reply.
 */
export function serialize<Message>(
  { encode }: { encode(message: Message, to: BinaryWriter): BinaryWriter },
  message: Message,
): Buffer {
  try {
    const bytes = encode(message, writer).finish();
    if (bytes.length > REUSED_BYTES_MAX) writer = new BinaryWriter();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (error) {
    // The writer holds half a message.
    writer = new BinaryWriter();
    throw error;
  }
}
