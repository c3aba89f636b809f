import type { Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import type { Book, Books, Original } from "../../src/ledger/account/books.js";
import type { Hold } from "../../src/ledger/decide/hold.js";

/** Books in memory, for the pure rules to be asked by themselves. */
export class ModelBooks extends Map<Uuid, Book> implements Books {
  readonly holds = new Map<Uuid, Hold>();
  now: Micros = 0n;

  hold(id: Uuid): Hold | undefined {
    return this.holds.get(id);
  }

  original(): Original | undefined {
    return undefined;
  }

  setOriginal(): void {
    throw new Error("this model knows no transactions");
  }

  setHold(hold: Hold): void {
    this.holds.set(hold.id, hold);
  }
}

export function modelBooks(books: readonly Book[]): ModelBooks {
  return new ModelBooks(books.map((book) => [book.id, book]));
}
