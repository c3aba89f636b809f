const PAGE_SIZE_MAX = 1_000;

export interface Page {
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface Items<T> {
  readonly items: T[];
  /** Names the page after these items; empty when there is none. */
  readonly nextPageToken: string;
}

/** The first items, at most `limit` (which may be Infinity), page by page; a page may be short or empty and not the last. */
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

/** The line under a list that is cut short; empty under a whole one. */
export function moreLine(page: Items<unknown>, hint: string): string {
  return page.nextPageToken === "" ? "" : `There are more; ${hint}.`;
}
