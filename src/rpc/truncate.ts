const ELLIPSIS = "…";

/**
 * Truncates a text between two characters to at most `bytesMax` bytes, with an ellipsis at its end.
 * @param sizeOf returns the bytes of a text
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

/** Returns the bytes that a well-formed text takes in the header grpc-message. */
export function percentEncodedBytes(text: string): number {
  return encodeURI(text).length;
}
