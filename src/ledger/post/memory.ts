import type { Config } from "../../config/config.js";
import type { Micros } from "../../base/time.js";
import type { Batch } from "./batch.js";
import type { Book, ReadBook } from "../account/books.js";
import { createCache, type Cache } from "./cache.js";
import { settled, type Hold, type ReadHold } from "../decide/hold.js";
import { recordedAt, usesSince } from "../account/velocity.js";

/**
 * What a posting engine remembers of accounts, holds and the time. What a batch on its way makes of them is remembered at
 * once, so that the next one builds on it; what depends on when it is recorded is settled once the database has said.
 */
export interface Memory {
  readonly books: Cache<ReadBook>;
  readonly holds: Cache<ReadHold>;
  readonly clock: Clock;
  /** Remembers what the batch decided. @returns what settles it, with the time of its record */
  remember(batch: Batch): (recorded: Micros) => void;
}

/** The database's clock, carried on by this process's own. */
export interface Clock {
  set(micros: Micros): void;
  /** undefined before the database has told it once. */
  now(): Micros | undefined;
}

/** An account as a batch left it. Batches that are about to be decided may hold it, so it is settled in place. */
interface RememberedBook {
  book: Book;
  readonly revision: bigint;
  /** The state that the batch built on. */
  readonly revisionBefore: bigint;
}

interface RememberedHold {
  hold: Hold;
  readonly revision: bigint;
}

export function createMemory({ GREY_POSTING_CACHE_MAX: max }: Pick<Config, "GREY_POSTING_CACHE_MAX">): Memory {
  const books = createCache<ReadBook>(Math.ceil(max / 2));
  const holds = createCache<ReadHold>(Math.ceil(max / 2));
  const clock = createClock();

  /** What was used of limits counts from when it is recorded, which may be a slice of time after it was decided. */
  function settlingUse(entry: RememberedBook, before: Book): (recorded: Micros) => void {
    const uses = usesSince(entry.book.velocity, before.velocity);
    const settle = (one: RememberedBook, recorded: Micros): void => {
      if (one.book.velocity !== null)
        one.book = { ...one.book, velocity: recordedAt(one.book.velocity, uses, recorded) };
    };
    return (recorded) => {
      settle(entry, recorded);
      // A batch after this one has built on what was decided.
      const latest = books.get(entry.book.id) as RememberedBook | undefined;
      if (latest?.revisionBefore === entry.revision) settle(latest, recorded);
    };
  }

  /** From now on the times of the hold are known. */
  function settlingHold(entry: RememberedHold): (recorded: Micros) => void {
    return (recorded) => {
      const decided = entry.hold;
      entry.hold = settled(decided, recorded);
      // A batch after this one has read the hold, and left it as it was.
      const latest: RememberedHold | undefined = holds.get(decided.id);
      if (latest?.hold === decided) latest.hold = entry.hold;
    };
  }

  return {
    books,
    holds,
    clock,
    remember: (batch) => {
      const { revision } = batch;
      const settling: ((recorded: Micros) => void)[] = [];
      for (const { book, before, revisionBefore } of batch.touched) {
        const entry: RememberedBook = { book, revision, revisionBefore };
        books.set(book.id, entry);
        if (book.velocity !== before.velocity) settling.push(settlingUse(entry, before));
      }
      for (const { hold, before } of batch.touchedHolds) {
        const entry: RememberedHold = { hold, revision };
        holds.set(hold.id, entry);
        if (hold !== before?.hold) settling.push(settlingHold(entry));
      }
      return (recorded) => {
        clock.set(recorded);
        for (const settle of settling) settle(recorded);
      };
    },
  };
}

function createClock(): Clock {
  let told: { readonly micros: Micros; readonly atMs: number } | undefined;
  return {
    set: (micros) => {
      told = { micros, atMs: performance.now() };
    },
    now: () =>
      told === undefined ? undefined : told.micros + BigInt(Math.round((performance.now() - told.atMs) * 1_000)),
  };
}
