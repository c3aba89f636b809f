/**
 * Characters that a terminal interprets, or that reorder the text around them: control characters (C0, DEL, C1), line and
 * paragraph separators, lone surrogates and bidirectional controls.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

/** Makes text safe to print on one line: replaces unsafe characters with escapes such as `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escapeCharacter);
}

/** Returns indented JSON that is safe to print and parses to the same value. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(UNSAFE, (character) =>
    character === "\n" ? character : escapeCharacter(character),
  );
}

/** Escapes an unsafe character; all are single UTF-16 units, so four digits suffice. */
function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
