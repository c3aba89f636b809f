import { randomBytes } from "node:crypto";

// The ids of populated rows are derived from a number, so that SQL creates millions of them and the load client knows them. They
// are UUIDv7: 48 bits of time, version, 12 bits for the type, variant, the number.

/** The time of number 0 in ms since 1970, 2025-01-01; number n is n ms later. */
export const EPOCH_MS = 1_735_689_600_000;

export const ID_SPACE = { USER: 1, WALLET: 2, TRANSACTION: 3, REQUEST: 4 } as const;
export type IdSpace = (typeof ID_SPACE)[keyof typeof ID_SPACE];

/** Returns the id of number n. */
export function benchId(space: IdSpace, n: number): string {
  const time = (EPOCH_MS + n).toString(16).padStart(12, "0");
  const tail = n.toString(16).padStart(15, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${space.toString(16).padStart(3, "0")}-8${tail.slice(0, 3)}-${tail.slice(3)}`;
}

/** Returns the same as SQL, for an expression of type bigint. */
export function benchIdSql(space: IdSpace, n: string): string {
  return `encode(int8send((${EPOCH_MS} + (${n})) * 65536 + ${0x7000 + space}) || int8send(-9223372036854775808 + (${n})), 'hex')::uuid`;
}

export const ID_TEXT_BYTES = 36;
const HEX = Buffer.from("0123456789abcdef", "latin1");
/** The offsets of the counter's six digits in an id's text: after the version and after the variant. */
const COUNTER_PLACES = [22, 21, 20, 17, 16, 15];

/**
 * Generates ascending UUIDv7 request ids as text directly in messages: 24 bits count within the process, 48 bits identify the
 * process.
 */
export class RequestIds {
  readonly #text = Buffer.from(`00000000-0000-7000-8000-${randomBytes(6).toString("hex")}`, "latin1");
  #timeMs = 0;
  #counter = 0;

  /** Writes the next id at the offset. */
  stamp(message: Buffer, offset: number): void {
    const nowMs = Date.now();
    if (nowMs !== this.#timeMs) {
      this.#timeMs = nowMs;
      const hex = nowMs.toString(16).padStart(12, "0");
      this.#text.write(hex.slice(0, 8), 0, "latin1");
      this.#text.write(hex.slice(8), 9, "latin1");
    }
    let rest = this.#counter;
    this.#counter = (this.#counter + 1) & 0xffffff;
    for (const place of COUNTER_PLACES) {
      this.#text[place] = HEX[rest & 15] ?? 0;
      rest >>>= 4;
    }
    this.#text.copy(message, offset);
  }
}
