import type { Uuid } from "../../base/ids.js";

/**
 * A cache of recently used holds. Its values may be stale: a batch is written only if each of them still has its revision.
 *
 * Two generations bound it: a full young generation becomes the old one, and values that were not used meanwhile are dropped.
 */
export interface Cache<T> {
  get(id: Uuid): T | undefined;
  set(id: Uuid, value: T): void;
  forget(ids: Iterable<Uuid>): void;
}

/** @param generationMax the values that a generation holds; the cache holds at most twice as many */
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
