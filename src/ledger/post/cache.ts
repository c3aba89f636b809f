import type { Uuid } from "../../base/ids.js";

/**
 * What this process remembers of recently used accounts or holds. It is a guess: what it leads to is written only if the
 * database still has the same revisions.
 *
 * Two generations bound it: when the young one is full it becomes the old one, and what was not used meanwhile is gone.
 */
export interface Cache<T> {
  get(id: Uuid): T | undefined;
  set(id: Uuid, value: T): void;
  forget(ids: Iterable<Uuid>): void;
}

/** @param generationMax how many a generation holds; the cache holds at most twice as many */
export function createCache<T>(generationMax: number): Cache<T> {
  let young = new Map<Uuid, T>();
  let old = new Map<Uuid, T>();
  const set = (id: Uuid, value: T): void => {
    young.set(id, value);
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
      if (aged !== undefined) set(id, aged);
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
