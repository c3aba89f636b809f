import { NORMAL_SIDE, type AccountState } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import type { Account } from "../account/account.js";
import type { VelocityLimit } from "../account/velocity.js";

/**
 * Accounts in a bounded piece of memory: a million of them in about 80 MB, where objects would take 600. Numbers are kept in typed
 * arrays, by buckets of eight accounts; an account that finds its bucket full takes the place of one that was not used lately.
 */
export interface AccountTable {
  /** The part of it that is in use, from 0 to 1. */
  readonly fill: number;
  /** Collects the ids of the accounts that give up their place from now on; undefined: collects them no longer. */
  collectEvicted(ids: Set<Uuid> | undefined): void;
  get(id: Uuid): Account | undefined;
  set(account: Account): void;
  clear(): void;
}

const WAYS = 8;
/** The numbers of an account, in this order: balance, pending debits, pending credits, sequence, minimum and maximum balance. */
const NUMBERS = 6;
const WORDS_OF_ID = 4;
/** An account's numbers, id, currency, flags and mark of use. */
const BYTES_OF_ACCOUNT = NUMBERS * 8 + WORDS_OF_ID * 4 + 2 + 1 + 1;
const CURRENCIES_MAX = 65_536;

// Flags. The state takes the two highest bits.
const TAKEN = 1;
const WALLET = 2;
const DEBIT_NORMAL = 4;
const HAS_MIN = 8;
const HAS_MAX = 16;
const HAS_VELOCITY = 32;
const STATE_SHIFT = 6;

export function createAccountTable(bytesMax: number): AccountTable {
  const buckets = Math.max(1, Math.floor(bytesMax / (WAYS * BYTES_OF_ACCOUNT)));
  const places = buckets * WAYS;
  // The operating system gives pages of these as they are first written.
  const numbers = new BigInt64Array(places * NUMBERS);
  const ids = new Uint32Array(places * WORDS_OF_ID);
  const currencies = new Uint16Array(places);
  const flags = new Uint8Array(places);
  const used = new Uint8Array(places);
  /** The place within a bucket that is given up next when all are in use. */
  let hand = 0;
  let taken = 0;
  let evicted: Set<Uuid> | undefined;
  const currencyCodes: string[] = [];
  const currencyNumbers = new Map<string, number>();
  /** Few accounts have such limits. */
  const velocities = new Map<Uuid, readonly VelocityLimit[]>();

  /** Returns the account's place; -1 for none. The words of its id are in `words`. */
  function find(first: number): number {
    const [a, b, c, d] = words;
    for (let place = first; place < first + WAYS; place += 1) {
      const word = place * WORDS_OF_ID;
      if (ids[word + 3] === d && ids[word] === a && ids[word + 1] === b && ids[word + 2] === c && flags[place] !== 0)
        return place;
    }
    return -1;
  }

  /** Returns a free place of the bucket, or that of an account that was not used lately. */
  function choose(first: number): number {
    for (let place = first; place < first + WAYS; place += 1) if (flags[place] === 0) return place;
    for (let place = first; place < first + WAYS; place += 1) if (used[place] === 0) return place;
    used.fill(0, first, first + WAYS);
    hand = (hand + 1) % WAYS;
    return first + hand;
  }

  function bucketOf(): number {
    const [, , c, d] = words;
    // The last bits of an id are random, whatever made it.
    return ((Math.imul(d ^ (c >>> 16), 0x9e37_79b1) >>> 0) % buckets) * WAYS;
  }

  function numberOf(currencyCode: string): number {
    const known = currencyNumbers.get(currencyCode);
    if (known !== undefined) return known;
    const next = currencyCodes.push(currencyCode) - 1;
    currencyNumbers.set(currencyCode, next);
    return next;
  }

  function take(): number {
    const first = bucketOf();
    const found = find(first);
    if (found >= 0) return found;
    const place = choose(first);
    if (flags[place] === 0) taken += 1;
    else evicted?.add(idAt(ids, place));
    if (((flags[place] ?? 0) & HAS_VELOCITY) !== 0) velocities.delete(idAt(ids, place));
    ids.set(words, place * WORDS_OF_ID);
    return place;
  }

  return {
    get fill() {
      return taken / places;
    },
    collectEvicted: (into) => {
      evicted = into;
    },
    get: (id) => {
      readWords(id);
      const place = find(bucketOf());
      if (place < 0) return undefined;
      used[place] = 1;
      const flag = flags[place] ?? 0;
      const at = place * NUMBERS;
      return {
        id,
        isWallet: (flag & WALLET) !== 0,
        currencyCode: currencyCodes[currencies[place] ?? 0] ?? "",
        normalSide: (flag & DEBIT_NORMAL) === 0 ? NORMAL_SIDE.CREDIT : NORMAL_SIDE.DEBIT,
        state: (flag >>> STATE_SHIFT) as AccountState,
        balanceMinor: numbers[at] ?? 0n,
        pendingDebitsMinor: numbers[at + 1] ?? 0n,
        pendingCreditsMinor: numbers[at + 2] ?? 0n,
        minBalanceMinor: (flag & HAS_MIN) === 0 ? null : (numbers[at + 4] ?? 0n),
        maxBalanceMinor: (flag & HAS_MAX) === 0 ? null : (numbers[at + 5] ?? 0n),
        velocity: (flag & HAS_VELOCITY) === 0 ? null : (velocities.get(id) ?? null),
        sequence: numbers[at + 3] ?? 0n,
      };
    },

    set: (account) => {
      const { id, minBalanceMinor: min, maxBalanceMinor: max, velocity } = account;
      const currency = numberOf(account.currencyCode);
      if (currency >= CURRENCIES_MAX) return;
      readWords(id);
      const place = take();
      const at = place * NUMBERS;
      numbers[at] = account.balanceMinor;
      numbers[at + 1] = account.pendingDebitsMinor;
      numbers[at + 2] = account.pendingCreditsMinor;
      numbers[at + 3] = account.sequence;
      if (min !== null) numbers[at + 4] = min;
      if (max !== null) numbers[at + 5] = max;
      if (velocity !== null) velocities.set(id, velocity);
      else if (((flags[place] ?? 0) & HAS_VELOCITY) !== 0) velocities.delete(id);
      currencies[place] = currency;
      flags[place] =
        TAKEN |
        (account.isWallet ? WALLET : 0) |
        (account.normalSide === NORMAL_SIDE.DEBIT ? DEBIT_NORMAL : 0) |
        (min === null ? 0 : HAS_MIN) |
        (max === null ? 0 : HAS_MAX) |
        (velocity === null ? 0 : HAS_VELOCITY) |
        (account.state << STATE_SHIFT);
      used[place] = 1;
    },

    clear: () => {
      flags.fill(0);
      taken = 0;
      velocities.clear();
    },
  };
}

type Words = [number, number, number, number];

/** The words of the id that is looked up: one array for all look-ups, which never overlap. */
const words: Words = [0, 0, 0, 0];

/** The places of a UUID's digits, in groups of eight. */
const DIGITS = [
  0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35,
];

function readWords(id: Uuid): void {
  for (let word = 0; word < WORDS_OF_ID; word += 1) {
    let value = 0;
    for (let digit = word * 8; digit < word * 8 + 8; digit += 1) {
      const code = id.charCodeAt(DIGITS[digit] ?? 0);
      // 0 to 9, and a to f.
      value = (value << 4) | (code < 58 ? code - 48 : code - 87);
    }
    words[word] = value >>> 0;
  }
}

function idAt(ids: Uint32Array, place: number): Uuid {
  const digits = Array.from({ length: WORDS_OF_ID }, (_, word) =>
    (ids[place * WORDS_OF_ID + word] ?? 0).toString(16).padStart(8, "0"),
  ).join("");
  return [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, digits);
}
