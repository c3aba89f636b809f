const ELLIPSIS = "…";

/**
 * Cuts a text to at most so many bytes between two characters, and ends it with an ellipsis then.
 * @param sizeOf the bytes that a text takes
 */
export function truncate(text: string, bytesMax: number, sizeOf: (text: string) => number = Buffer.byteLength): string {
  if (sizeOf(text) <= bytesMax) return text;
  let left = bytesMax - sizeOf(ELLIPSIS);
  let end = 0;
  for (const character of text) {
    left -= sizeOf(character);
    if (left < 0) break;
    end += character.length;
  }
  return `${text.slice(0, end)}${ELLIPSIS}`;
}

/** The bytes that a well-formed text takes in the header grpc-message. */
export function percentEncodedBytes(text: string): number {
  return encodeURI(text).length;
}
