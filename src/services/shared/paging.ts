import { createRoom, type Codec } from "../../base/room.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import type { CallContext } from "../../rpc/context.js";
import type { PageTokens } from "./page-tokens.js";

/** The most rows that are read at once: of the largest, some 28 MB. */
export const ROWS_AT_ONCE = 200;

const PAGE_SIZE_DEFAULT = 50;

/** Returns the number of items on a page. */
export function getPageSize(request: { readonly pageSize: number }): number {
  return request.pageSize === 0 ? PAGE_SIZE_DEFAULT : request.pageSize;
}

/** The method's name, and everything in its request that selects or orders the items. */
type Scope = readonly [method: string, ...selection: unknown[]];

/**
 * Answers a request for a page: opens its token, has the page read from the token's cursor on, and seals the cursor of the next page.
 * @param read reads a page, and returns the cursor of the next one; undefined for none
 * Fails: PAGE_TOKEN_INVALID, before anything is read
 */
export async function answerPage<Page>(
  tokens: PageTokens,
  { pageToken }: { readonly pageToken: string },
  { caller }: Pick<CallContext, "caller">,
  [method, ...selection]: Scope,
  read: (cursor: string | undefined) => Promise<{ readonly page: Page; readonly next: string | undefined }>,
): Promise<Page & { readonly nextPageToken: string }> {
  const scope = [method, caller, ...selection];
  const { page, next } = await read(tokens.open(scope, pageToken));
  return { ...page, nextPageToken: next === undefined ? "" : tokens.seal(scope, next) };
}

/** A list that is read row by row. */
export interface Listing<Row, Item, Field extends string> {
  /** The field of the response that has the items. */
  readonly field: Field;
  /** Reads the next rows in the order of the list. @param after the cursor of the row before them; undefined at the beginning */
  readonly read: (after: string | undefined, limit: number) => Promise<readonly Row[]>;
  readonly render: (rows: readonly Row[]) => readonly Item[] | Promise<readonly Item[]>;
  readonly codec: Codec<Item>;
  /** Returns the place of a row in the order. */
  readonly cursorOf: (row: Row) => string;
}

/**
 * Answers a request for a page of a list, in one session of the database.
 * @param open checks what the list is about, and returns the list
 * Fails: PAGE_TOKEN_INVALID, JOURNAL_BEHIND, and as `open` does
 */
export function listPage<Row, Item, Field extends string>(
  database: Database,
  tokens: PageTokens,
  request: { readonly pageSize: number; readonly pageToken: string },
  context: CallContext,
  scope: Scope,
  open: (session: Session) => Listing<Row, Item, Field> | Promise<Listing<Row, Item, Field>>,
): Promise<Readonly<Record<Field, Item[]>> & { readonly nextPageToken: string }> {
  return answerPage(tokens, request, context, scope, (cursor) =>
    readInSession(database, context, async (session) => readListing(await open(session), cursor, getPageSize(request))),
  );
}

/** Reads items until the page has as many as requested, or an answer has no room for more. */
export async function readListing<Row, Item, Field extends string>(
  { field, read, render, codec, cursorOf }: Listing<Row, Item, Field>,
  after: string | undefined,
  pageSize: number,
): Promise<{ readonly page: Record<Field, Item[]>; readonly next: string | undefined }> {
  const room = createRoom(codec);
  const items: Item[] = [];
  const page = { [field]: items } as Record<Field, Item[]>;
  let cursor = after;
  for (;;) {
    const limit = Math.min(pageSize - items.length, ROWS_AT_ONCE);
    // One more than needed shows whether there is another page.
    const rows = await read(cursor, limit + 1);
    const slice = rows.slice(0, limit);
    const fitting = room.take(await render(slice));
    items.push(...fitting);
    const last = slice[fitting.length - 1];
    if (last !== undefined) cursor = cursorOf(last);
    if (fitting.length === rows.length) return { page, next: undefined };
    if (fitting.length < slice.length || items.length === pageSize) return { page, next: cursor ?? "" };
  }
}
