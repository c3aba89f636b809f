import { createHmac, timingSafeEqual } from "node:crypto";
import { fail } from "../../base/failure.js";

const MAC_BYTES = 16;

/**
 * Page tokens: the cursor at which the next page starts, authenticated with the ledger's secret together with the scope of the
 * list, so that a token serves only the caller, method and filters that it was made for.
 */
export interface PageTokens {
  /** Returns the token of the page that starts after the cursor. */
  seal(scope: readonly unknown[], cursor: string): string;
  /** Returns the cursor of a token, or undefined for the empty token. Fails: PAGE_TOKEN_INVALID. */
  open(scope: readonly unknown[], token: string): string | undefined;
  /** Returns the cursor of a token, or undefined if this ledger has not sealed it for this scope. */
  unseal(scope: readonly unknown[], token: string): string | undefined;
}

export function createPageTokens(secret: Buffer): PageTokens {
  const computeMac = (scope: readonly unknown[], cursor: string): Buffer =>
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
      timingSafeEqual(bytes.subarray(0, MAC_BYTES), computeMac(scope, cursor));
    return isOurs ? cursor : undefined;
  };
  return {
    unseal,
    seal: (scope, cursor) => Buffer.concat([computeMac(scope, cursor), Buffer.from(cursor)]).toString("base64url"),
    open: (scope, token) => {
      if (token === "") return undefined;
      return unseal(scope, token) ?? fail({ reason: "PAGE_TOKEN_INVALID" });
    },
  };
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? `${part}n` : part));
}
