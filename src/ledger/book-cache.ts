import type { Uuid } from "../base/ids.js";
import type { ReadBook } from "./books.js";

/**
 * The books of recently used accounts, as far as this process knows. They are a guess: what they lead to is written only
 * if the database still has the same revisions.
 *
 * Two generations bound it: when the young one is full it becomes the old one, and what was not used meanwhile is gone.
 */
export interface BookCache {
  get(id: Uuid): ReadBook | undefined;
  set(read: ReadBook): void;
  forget(ids: Iterable<Uuid>): void;
}

/** @param generationMax accounts in a generation; the cache holds at most twice as many */
export function createBookCache(generationMax: number): BookCache {
  let young = new Map<Uuid, ReadBook>();
  let old = new Map<Uuid, ReadBook>();
  const set = (read: ReadBook): void => {
    young.set(read.book.id, read);
    if (young.size < generationMax) return;
    old = young;
    young = new Map();
  };
  return {
    set,
    get: (id) => {
      const fresh = young.get(id);
      if (fresh !== undefined) return fresh;
      const aged = old.get(id);
      if (aged !== undefined) set(aged);
      return aged;
    },
    forget: (ids) => {
      for (const id of ids) {
        young.delete(id);
        old.delete(id);
      }
    },
  };
}
