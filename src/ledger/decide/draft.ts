import type { Uuid } from "../../base/ids.js";
import type { Book, Books, Original } from "../account/books.js";
import type { Hold } from "./hold.js";

/** Books over others, which change only when the draft is kept. */
export function draftOf(books: Books): Books & { keep(): void } {
  const changed = new Map<Uuid, Book>();
  const holds = new Map<Uuid, Hold>();
  const originals = new Map<Uuid, Original>();
  return {
    now: books.now,
    get: (id) => changed.get(id) ?? books.get(id),
    set: (id, book) => changed.set(id, book),
    hold: (id) => holds.get(id) ?? books.hold(id),
    setHold: (hold) => holds.set(hold.id, hold),
    original: (id) => originals.get(id) ?? books.original(id),
    setOriginal: (original) => originals.set(original.transaction.id, original),
    keep: () => {
      for (const [id, book] of changed) books.set(id, book);
      for (const hold of holds.values()) books.setHold(hold);
      for (const original of originals.values()) books.setOriginal(original);
    },
  };
}
