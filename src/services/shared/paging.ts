import { createHmac, timingSafeEqual } from "node:crypto";
import { fail } from "../../base/failure.js";
import { createRoom, type Codec } from "../../base/room.js";

const PAGE_SIZE_DEFAULT = 50;
const MAC_BYTES = 16;

/** The number of things on a page: as asked for, and 50 when the caller leaves it to the service. */
export function getPageSize(request: { readonly pageSize: number }): number {
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

/** How many rows are read at once: of the largest, some 28 MB. */
export const ROWS_AT_ONCE = 200;

/** What makes a page of a list. */
interface Listing<Row, Item> {
  /** Reads the next rows in the order of the list. @param after the cursor of the row before them; undefined at the beginning */
  readonly read: (after: string | undefined, limit: number) => Promise<readonly Row[]>;
  readonly render: (rows: readonly Row[]) => readonly Item[] | Promise<readonly Item[]>;
  readonly codec: Codec<Item>;
  /** Names the place of a row in the order. */
  readonly cursorOf: (row: Row) => string;
}

/** The items of a page, and the token of the page after it; "" on the last. */
interface ListedPage<Item> {
  readonly items: Item[];
  readonly nextPageToken: string;
}

/**
 * Reads the page that a request asks for. It ends before it has more items than asked for, or takes more bytes than an answer may.
 * Fails at once: PAGE_TOKEN_INVALID.
 * @param scope what the list is of, see PageTokens
 */
export function openPage(
  tokens: PageTokens,
  scope: readonly unknown[],
  request: { readonly pageSize: number; readonly pageToken: string },
): { read<Row, Item>(listing: Listing<Row, Item>): Promise<ListedPage<Item>> } {
  const opened = tokens.open(scope, request.pageToken);
  const pageSize = getPageSize(request);
  return {
    read: async ({ read, render: present, codec, cursorOf }) => {
      const room = createRoom(codec);
      let cursor = opened;
      const items = [];
      for (;;) {
        const limit = Math.min(pageSize - items.length, ROWS_AT_ONCE);
        // One more than needed tells whether there is another.
        const rows = await read(cursor, limit + 1);
        const slice = rows.slice(0, limit);
        const presented = await present(slice);
        const fitting = room.take(presented);
        items.push(...fitting);
        const last = slice[fitting.length - 1];
        if (last !== undefined) cursor = cursorOf(last);
        if (fitting.length === rows.length) return { items, nextPageToken: "" };
        if (fitting.length < slice.length || items.length === pageSize)
          return { items, nextPageToken: tokens.seal(scope, cursor ?? "") };
      }
    },
  };
}
