/** Says for people what each pattern of the contract's annotations asks for. */
const WORDS: ReadonlyMap<string, string> = new Map([
  [
    "^([1-9][0-9]*([.][0-9]+)?|0[.][0-9]*[1-9][0-9]*)$",
    "must be a decimal number of more than 0 without leading zeros, such as 0.92",
  ],
  ["^([A-Z][A-Z0-9]{2,11})?$", "must be a currency's code, such as USD, or empty"],
  ["^[A-Z][A-Z0-9]{2,11}$", "must be a currency's code, such as USD: 3 to 12 upper-case letters and digits"],
  [
    "^[0-9A-Z*,/-]+( [0-9A-Z*,/-]+){4}$",
    "must have five fields (minute, hour, day of the month, month, day of the week) with one blank between them, such as 0 9 1 * *",
  ],
  ["^[0-9A-Fa-f][0-9A-Fa-f-]*$", "must be the beginning of an id: hexadecimal digits, with hyphens or without"],
  ["^[A-Za-z0-9][A-Za-z0-9_.:/-]*$", "must be made of letters, digits and _ . : / -, a letter or digit first"],
  ["^[A-Za-z][A-Za-z0-9_+/-]*$", "must be an IANA time zone, such as Europe/Berlin"],
  ["^[^\\x00-\\x1f\\x7f-\\x9f]*$", "must not have control characters, such as line feeds"],
  ["^[a-z][a-z0-9_-]*$", "must be made of lower-case letters, digits, _ and -, a letter first"],
  ["^[a-z][a-z0-9_]*$", "must be made of lower-case letters, digits and _, a letter first"],
]);

/** Says in words what a text must be that breaks a pattern; protovalidate's own message for any other rule. */
export function inWords(message: string): string {
  const [, pattern = ""] = /^does not match regex pattern `(.*)`$/s.exec(message) ?? [];
  return WORDS.get(pattern) ?? message;
}
