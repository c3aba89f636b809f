import { AsyncResource } from "node:async_hooks";
import { FailureError } from "../../base/failure.js";
import { limitConcurrency } from "../../base/concurrency.js";
import type { Database } from "../../db/database.js";
import { translateError } from "../../db/in-transaction.js";
import { readPage, type JournalPage, type WatchedRecord } from "./journal-page.js";

/** The records that a watcher selects. */
export interface WatchFilter {
  /** Returns false when no record of the page can match. Called for each page in order. */
  readonly mayMatch: (page: JournalPage) => boolean;
  readonly matches: (record: WatchedRecord) => boolean;
}

/** A watcher's request for its next page. */
export interface PageRequest {
  /** The first journal index that the watcher has not read. */
  readonly index: bigint;
  readonly filter: WatchFilter;
  /** The number of records to read when they are no longer in memory. */
  readonly recordsMax: bigint;
  /** The time, and the journal index, at which a reply is due even when nothing matches. */
  readonly waitMs: number;
  readonly indexMax: bigint;
}

/** A reply: the watcher has passed everything before the index; the page, if any, contains it. */
export interface PageReply {
  readonly index: bigint;
  readonly page: JournalPage | undefined;
}

/**
 * The end of the journal, shared by all watchers of the process. While there are any, one reader polls the journal's size, reads new
 * records once, and keeps the latest in memory. Wakes only watchers that a page concerns; lagging watchers read their own pages, a few
 * at a time.
 */
export interface JournalTail {
  /** Registers a watcher. @returns a function that unregisters it */
  join(): () => void;
  /**
   * Waits for the next page of a registered watcher. Survives an unavailable database; fails when the records read are inconsistent.
   */
  next(request: PageRequest, signal: AbortSignal): Promise<PageReply>;
}

/** A watcher that waits for new records. */
interface Waiter {
  readonly request: PageRequest;
  index: bigint;
  readonly wake: () => void;
}

/** The number of records that the shared reader reads in one page. */
const PAGE_MAX = 1_000n;
/** The total weight of the pages in memory. */
const RECENT_WEIGHT_MAX = 20_000;
/** Lagging watchers leave most connections to other calls. */
const LAGGING_READS_MAX = 2;

export function createJournalTail(database: Database): JournalTail {
  const recent: JournalPage[] = [];
  const waiters = new Set<Waiter>();
  const limitLaggingReads = limitConcurrency(LAGGING_READS_MAX);
  let watchers = 0;
  let isRunning = false;
  /** The journal index up to which records are known to exist; -1 before the first poll. */
  let end = -1n;
  let fault: unknown;

  const wakeAll = (): void => {
    for (const waiter of waiters) waiter.wake();
  };

  /** Wakes the watchers that a new page concerns, and moves the others past it. */
  const announce = (page: JournalPage): void => {
    for (const waiter of waiters) {
      const { filter, indexMax } = waiter.request;
      if (waiter.index >= page.end) continue;
      if (waiter.index === page.first && page.end < indexMax && !filter.mayMatch(page)) waiter.index = page.end;
      else waiter.wake();
    }
  };

  const addRecent = (page: JournalPage): void => {
    recent.push(page);
    let weight = recent.reduce((sum, { weight: more }) => sum + more, 0);
    while (weight > RECENT_WEIGHT_MAX && recent.length > 1) weight -= recent.shift()?.weight ?? 0;
    end = page.end;
  };

  const readNewRecords = async (): Promise<void> => {
    const size = await database.journalSize.next();
    if (end < 0n) {
      end = size;
      wakeAll();
    }
    while (end < size && watchers > 0) {
      const page = await readPage(database.pool, end, min(end + PAGE_MAX, size));
      addRecent(page);
      announce(page);
    }
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    fault = undefined;
    while (watchers > 0 && fault === undefined) {
      try {
        await readNewRecords();
      } catch (error) {
        if (!isTransient(error)) fault = error;
      }
    }
    isRunning = false;
    recent.length = 0;
    end = -1n;
    wakeAll();
  };

  // Detached, so that shared reads do not join the trace of the call that started them.
  const start = AsyncResource.bind(() => {
    run().catch((error: unknown) => {
      fault = error;
      isRunning = false;
      wakeAll();
    });
  });

  /** Resolves on new records or on timeout, with the index up to which nothing concerned the watcher. */
  const waitForRecords = (request: PageRequest, signal: AbortSignal): Promise<bigint> =>
    new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        waiters.delete(waiter);
        signal.removeEventListener("abort", wake);
        resolve(waiter.index);
      };
      const waiter: Waiter = { request, index: request.index, wake };
      const timer = setTimeout(wake, request.waitMs);
      waiters.add(waiter);
      signal.addEventListener("abort", wake);
      if (signal.aborted) wake();
    });

  return {
    join: () => {
      watchers += 1;
      if (!isRunning) start();
      return () => {
        watchers -= 1;
      };
    },
    next: async (request, signal) => {
      const index = request.index < end ? request.index : await waitForRecords(request, signal);
      if (fault !== undefined) throw fault;
      if (index >= end || signal.aborted) return { index, page: undefined };
      const inMemory = recent.find((page) => page.first <= index && index < page.end);
      if (inMemory !== undefined) return { index, page: inMemory };
      const before = min(index + request.recordsMax, end);
      try {
        return { index, page: await limitLaggingReads(() => readPage(database.pool, index, before)) };
      } catch (error) {
        if (!isTransient(error)) throw error;
        return { index: await waitForRecords({ ...request, index }, signal), page: undefined };
      }
    },
  };
}

/** Returns whether the failure is temporary: the database is unavailable or overloaded. */
function isTransient(error: unknown): boolean {
  return translateError(error) instanceof FailureError;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
