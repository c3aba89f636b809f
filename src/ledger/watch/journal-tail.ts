import { AsyncResource } from "node:async_hooks";
import { assertPresent } from "../../base/assert.js";
import { FailureError } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { limitConcurrency } from "../../base/concurrency.js";
import { uuidArray } from "../../db/binary-array.js";
import type { Database, Queryable } from "../../db/database.js";
import { translateError } from "../../db/in-transaction.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { readRecords, type PlacedRecord } from "../../journal/read.js";
import { findTransactions } from "../transaction/rows.js";
import { listAccounts, type LedgerTransaction } from "../transaction/transaction.js";

/** A record of the journal, and the transaction that it is of, if it is of one. */
export interface WatchedRecord extends PlacedRecord {
  readonly transaction: LedgerTransaction | undefined;
}

/** What a record takes of memory, in legs of a transaction: who holds many counts them by this. */
export function weigh({ transaction }: WatchedRecord): number {
  return transaction?.legs?.length ?? LEGS_OF_A_MOVEMENT;
}

const LEGS_OF_A_MOVEMENT = 2;

/** What stands in the journal from `first` to `end`, which is not included. */
export interface JournalPage {
  readonly first: bigint;
  readonly end: bigint;
  readonly records: readonly WatchedRecord[];
  /** What they weigh together, see weightOf. */
  readonly weight: number;
  /** The accounts of its transactions, and what its other records are about: who watches nothing of it passes it over. */
  readonly touched: ReadonlySet<Uuid>;
  /** The wallets that were opened, and whose they are. */
  readonly opened: ReadonlyMap<Uuid, Uuid>;
}

/** What a watcher wants to be told of. */
export interface WatchFilter {
  /** Whether the page may hold something of it. Asked of each page, in order. */
  readonly mayMatch: (page: JournalPage) => boolean;
  readonly matches: (record: WatchedRecord) => boolean;
}

/** What a watcher asks for. */
export interface PageRequest {
  /** The next place that it has not read. */
  readonly place: bigint;
  readonly filter: WatchFilter;
  /** How many records to read when they are not in memory any more. */
  readonly atOnce: bigint;
  /** It is answered in this time, and when it has been led to this place, even if there is nothing for it. */
  readonly waitMs: number;
  readonly placeMax: bigint;
}

/** What it gets: everything before the place has been read, and what is on the page at that place, if there is one, has not. */
export interface PageReply {
  readonly place: bigint;
  readonly page: JournalPage | undefined;
}

/**
 * The end of the journal, for everyone in this process who watches it. While someone does, one reader asks for its size
 * and reads what is new, once; it keeps the latest in memory. Who waits is not woken by what does not concern them. Who is
 * further behind reads by themselves, a few at once.
 */
export interface JournalTail {
  /** Begins to watch. @returns what ends it */
  join(): () => void;
  /**
   * What is next for one who has joined. Goes on when the database is back. Fails when what was read cannot be right.
   */
  next(request: PageRequest, signal: AbortSignal): Promise<PageReply>;
}

/** One who waits at the end. */
interface Waiter {
  readonly request: PageRequest;
  place: bigint;
  readonly done: () => void;
}

/** What the reader reads at once. */
const PAGE_MAX = 1_000n;
/** A page ends early before its records weigh more than this. */
const PAGE_WEIGHT_MAX = 10_000;
/** What the records that are kept in memory weigh. */
const RECENT_WEIGHT_MAX = 20_000;
/** Those who are behind leave most connections to others. */
const OWN_READS_MAX = 2;

export function createJournalTail(database: Database): JournalTail {
  const recent: JournalPage[] = [];
  const waiting = new Set<Waiter>();
  const limited = limitConcurrency(OWN_READS_MAX);
  let watchers = 0;
  let isRunning = false;
  /** Up to where the journal is known to be there; -1 while nothing is known. */
  let end = -1n;
  let fault: unknown;

  const wake = (): void => {
    for (const { done } of waiting) done();
  };

  /** Wakes whom the new page concerns; leads on those who have nothing on it. */
  const announce = (page: JournalPage): void => {
    for (const one of waiting) {
      const { filter, placeMax } = one.request;
      if (one.place >= page.end) continue;
      if (one.place === page.first && page.end < placeMax && !filter.mayMatch(page)) one.place = page.end;
      else one.done();
    }
  };

  const keep = (page: JournalPage): void => {
    recent.push(page);
    let weight = recent.reduce((sum, one) => sum + one.weight, 0);
    while (weight > RECENT_WEIGHT_MAX && recent.length > 1) weight -= recent.shift()?.weight ?? 0;
    end = page.end;
  };

  const readOn = async (): Promise<void> => {
    const size = await database.journalSize.next();
    if (end < 0n) {
      end = size;
      wake();
    }
    while (end < size && watchers > 0) {
      const page = await readPage(database.pool, end, min(end + PAGE_MAX, size));
      keep(page);
      announce(page);
    }
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    fault = undefined;
    while (watchers > 0 && fault === undefined) {
      try {
        await readOn();
      } catch (error) {
        if (!isTransient(error)) fault = error;
      }
    }
    isRunning = false;
    recent.length = 0;
    end = -1n;
    wake();
  };

  // What is read for all is no part of the trace of the call that happened to be the first.
  const start = AsyncResource.bind(() => {
    run().catch((error: unknown) => {
      fault = error;
      isRunning = false;
      wake();
    });
  });

  /** Resolves when there is something new, or after the time, with the place up to which there was nothing of interest. */
  const change = (request: PageRequest, signal: AbortSignal): Promise<bigint> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        waiting.delete(one);
        signal.removeEventListener("abort", done);
        resolve(one.place);
      };
      const one: Waiter = { request, place: request.place, done };
      const timer = setTimeout(done, request.waitMs);
      waiting.add(one);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
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
      const place = request.place < end ? request.place : await change(request, signal);
      if (fault !== undefined) throw fault;
      if (place >= end || signal.aborted) return { place, page: undefined };
      const inMemory = recent.find((page) => page.first <= place && place < page.end);
      if (inMemory !== undefined) return { place, page: inMemory };
      const before = min(place + request.atOnce, end);
      try {
        return { place, page: await limited(() => readPage(database.pool, place, before)) };
      } catch (error) {
        if (!isTransient(error)) throw error;
        return { place: await change({ ...request, place }, signal), page: undefined };
      }
    },
  };
}

/** Reads from `first` up to `before` at the furthest, and at least one record. */
async function readPage(client: Queryable, first: bigint, before: bigint): Promise<JournalPage> {
  const { records, weight } = await takeFitting(client, await readRecords(client, first, before));
  const found = await findTransactions(client, listTransactionIds(records));
  const touched = new Set<Uuid>();
  const withTransactions = records.map((record) => {
    const transaction = isOfTransaction(record)
      ? assertPresent(found.get(record.id), "a recorded transaction")
      : undefined;
    for (const id of transaction === undefined ? [record.id] : listAccounts(transaction)) touched.add(id);
    return { ...record, transaction };
  });
  const opened = records.filter(({ type }) => type === RECORD_TYPE.WALLET_CREATED).map(({ id }) => id);
  const end = first + BigInt(records.length);
  return { first, end, records: withTransactions, weight, touched, opened: await findOwners(client, opened) };
}

const LEG_COUNTS = `
SELECT t.id, cardinality(t.leg_account_ids) AS legs
FROM unnest($1::uuid[]) AS wanted (id) JOIN transactions t ON t.id = wanted.id
WHERE t.leg_account_ids IS NOT NULL`;

/** The first of the records, as many as a page may weigh. */
async function takeFitting(
  client: Queryable,
  records: readonly PlacedRecord[],
): Promise<{ readonly records: readonly PlacedRecord[]; readonly weight: number }> {
  const { rows } = await client.query<{ id: Uuid; legs: number }>({
    name: "legs-counted",
    text: LEG_COUNTS,
    values: [uuidArray(listTransactionIds(records))],
  });
  const legs = new Map(rows.map((row) => [row.id, row.legs]));
  let weight = 0;
  for (const [position, { id }] of records.entries()) {
    const more = legs.get(id) ?? LEGS_OF_A_MOVEMENT;
    if (position > 0 && weight + more > PAGE_WEIGHT_MAX) return { records: records.slice(0, position), weight };
    weight += more;
  }
  return { records, weight };
}

function listTransactionIds(records: readonly PlacedRecord[]): readonly Uuid[] {
  return records.filter(isOfTransaction).map(({ id }) => id);
}

function isOfTransaction({ type }: PlacedRecord): boolean {
  return type === RECORD_TYPE.TRANSACTION_POSTED || type === RECORD_TYPE.TRANSACTION_REJECTED;
}

async function findOwners(client: Queryable, walletIds: readonly Uuid[]): Promise<Map<Uuid, Uuid>> {
  if (walletIds.length === 0) return new Map();
  const { rows } = await client.query<{ id: Uuid; user_id: Uuid }>({
    name: "wallet-owners",
    text: "SELECT id, user_id FROM wallets WHERE id = ANY($1::uuid[])",
    values: [uuidArray(walletIds)],
  });
  return new Map(rows.map((row) => [row.id, row.user_id]));
}

/** Whether the error is of the moment: the database is away or has too much to do. */
function isTransient(error: unknown): boolean {
  return translateError(error) instanceof FailureError;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
