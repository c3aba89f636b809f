import { v5, v7 } from "uuid";

/** A UUID in lower case with hyphens. */
export type Uuid = string;

/** A new UUIDv7: ordered by time, so that indexes grow at their right edge. */
export function newId(): Uuid {
  return v7();
}

/** The id as it is kept: UUIDs are the same in any case (RFC 9562, section 4). The contract has checked its form. */
export function parseId(text: string): Uuid {
  return text.toLowerCase();
}

/** The namespace of the ids that follow from names. */
const GREY_NAMESPACE = "6772657a-7f6c-5d0e-8a61-67726579bb01";

/**
 * The id of a system account. It follows from currency and name (UUIDv5), so that every process knows it without asking
 * and two that open the same account cannot open two.
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
