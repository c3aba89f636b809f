import { randomFillSync } from "node:crypto";
import { v5, v7 } from "uuid";
import { assertPresent } from "./assert.js";

/** A UUID in lower case with hyphens. */
export type Uuid = string;

/**
 * Returns a new UUIDv7. Ids are ordered by time, so that indexes grow at their right edge, and within a millisecond by a counter
 * with a random start. Random bytes are drawn for many ids at once, which the library does not do.
 */
export function newId(): Uuid {
  if (used === DRAWS.length) {
    randomFillSync(RANDOM);
    used = 0;
  }
  const random = assertPresent(DRAWS[used], "random bytes");
  used += 1;
  const now = Date.now();
  if (now > msecs) {
    msecs = now;
    seq = random.readUInt32BE(0) >>> 1;
  } else {
    seq += 1;
  }
  return v7({ random, msecs, seq });
}

const RANDOM = Buffer.alloc(4_096);
const DRAWS = Array.from({ length: RANDOM.length / 16 }, (_, index) => RANDOM.subarray(16 * index, 16 * index + 16));
let used = DRAWS.length;
let msecs = 0;
/** The counter. It starts below 2^31, so that it cannot overflow its 32 bits within a millisecond. */
let seq = 0;

/** Returns the id as it is stored, in lower case: UUIDs are equal in any case (RFC 9562, section 4). The contract has checked its form. */
export function parseId(text: string): Uuid {
  return text.toLowerCase();
}

/** The namespace of the ids that are derived from names. */
const GREY_NAMESPACE = "6772657a-7f6c-5d0e-8a61-67726579bb01";

/**
 * Returns the id of a system account. It is derived from currency and name (UUIDv5), so that every process knows it without a
 * query, and two processes that open the same account cannot open it twice.
 */
export function systemAccountId(currencyCode: string, name: string): Uuid {
  const key = `${currencyCode}/${name}`;
  let id = systemAccountIds.get(key);
  if (id === undefined) {
    id = v5(`account/${key}`, GREY_NAMESPACE);
    if (systemAccountIds.size < 10_000) systemAccountIds.set(key, id);
  }
  return id;
}

const systemAccountIds = new Map<string, Uuid>();

/** The ledger itself as a caller. */
export const LEDGER_CALLER: Uuid = "00000000-0000-7000-8000-000000000000";

/** Returns the request id of a hold's expiry. It is derived from the hold, so that a hold expires once, whichever process expires it. */
export function expiryRequestId(holdId: Uuid): Uuid {
  return v5(`expiry/${holdId}`, GREY_NAMESPACE);
}

/** Returns the request id of an attempt at a scheduled run. It is derived from the run, so that an attempt is posted once, whichever process posts it. */
export function runRequestId(scheduleId: Uuid, plannedTime: bigint, attempt: number): Uuid {
  return v5(`run/${scheduleId}/${plannedTime}/${attempt}`, GREY_NAMESPACE);
}
