/**
 * What a terminal acts on instead of showing it, or what reorders the text around it: control characters (C0, DEL, C1),
 * line and paragraph separators, lone surrogates and bidirectional controls.
 */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

/** The text on one line, safe to print on a terminal: each unsafe character is shown as its escape, such as `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escapeCharacter);
}

/** The value as indented JSON that is safe to print on a terminal and reads back as the same value. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(UNSAFE, (character) =>
    character === "\n" ? character : escapeCharacter(character),
  );
}

/** Every unsafe character is one UTF-16 unit, so four digits are enough. */
function escapeCharacter(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
