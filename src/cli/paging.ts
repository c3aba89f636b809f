const PAGE_SIZE_MAX = 1_000;

export interface Page {
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface Items<T> {
  readonly items: T[];
  /** The token of the next page; empty after the last one. */
  readonly nextPageToken: string;
}

/** Fetches pages until `limit` items (possibly Infinity) or the last page; earlier pages may be short or empty. */
export async function collect<T>(limit: number, fetchPage: (page: Page) => Promise<Items<T>>): Promise<Items<T>> {
  const items: T[] = [];
  let pageToken = "";
  do {
    const page = await fetchPage({ pageSize: Math.min(limit - items.length, PAGE_SIZE_MAX), pageToken });
    items.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && items.length < limit);
  return { items, nextPageToken: pageToken };
}

/** Returns the line under an incomplete list; empty under a complete one. */
export function moreLine(page: Items<unknown>, hint: string): string {
  return page.nextPageToken === "" ? "" : `There are more; ${hint}.`;
}
