import { createHmac, timingSafeEqual } from "node:crypto";
import { fail } from "../base/failure.js";

const PAGE_SIZE_DEFAULT = 50;
const MAC_BYTES = 16;

/** The number of things on a page: as asked for, and 50 when the caller leaves it to the service. */
export function pageSizeOf(request: { readonly pageSize: number }): number {
  return request.pageSize === 0 ? PAGE_SIZE_DEFAULT : request.pageSize;
}

/**
 * Page tokens: where the next page starts, sealed with the ledger's secret together with what the page is of, so that a
 * token serves only the caller, method and filters that it was made for.
 */
export interface PageTokens {
  /** The token of the page that starts after `cursor`. */
  seal(scope: readonly unknown[], cursor: string): string;
  /** The cursor of the token, or undefined for the empty token. Fails: PAGE_TOKEN_INVALID. */
  open(scope: readonly unknown[], token: string): string | undefined;
  /** What was sealed, or undefined when this ledger has not sealed it for this scope. */
  unseal(scope: readonly unknown[], token: string): string | undefined;
}

export function createPageTokens(secret: Buffer): PageTokens {
  const macOf = (scope: readonly unknown[], cursor: string): Buffer =>
    createHmac("sha256", secret)
      .update(canonical([scope, cursor]))
      .digest()
      .subarray(0, MAC_BYTES);
  const unseal = (scope: readonly unknown[], token: string): string | undefined => {
    const bytes = Buffer.from(token, "base64url");
    const cursor = bytes.subarray(MAC_BYTES).toString();
    const isOurs =
      bytes.length > MAC_BYTES &&
      bytes.toString("base64url") === token &&
      timingSafeEqual(bytes.subarray(0, MAC_BYTES), macOf(scope, cursor));
    return isOurs ? cursor : undefined;
  };
  return {
    unseal,
    seal: (scope, cursor) => Buffer.concat([macOf(scope, cursor), Buffer.from(cursor)]).toString("base64url"),
    open: (scope, token) => {
      if (token === "") return undefined;
      return unseal(scope, token) ?? fail({ reason: "PAGE_TOKEN_INVALID" });
    },
  };
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? `${part}n` : part));
}

/**
 * A page of what was read one more than asked for: the extra one only says that there is a next page.
 * @param cursorOf what names a thing's place in the order
 */
export function pageOf<T>(
  things: readonly T[],
  pageSize: number,
  cursorOf: (last: T) => string,
): { readonly page: readonly T[]; readonly nextCursor: string | undefined } {
  const page = things.slice(0, pageSize);
  const last = page.at(-1);
  return { page, nextCursor: things.length > pageSize && last !== undefined ? cursorOf(last) : undefined };
}
