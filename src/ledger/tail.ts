import { present } from "../base/assert.js";
import { FailureError } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import { uuidArray } from "../db/binary-array.js";
import type { Database, Queryable } from "../db/database.js";
import { translate } from "../db/transaction.js";
import { RECORD_TYPE } from "../entities/journal.js";
import { readRecords, type PlacedRecord } from "../journal/read.js";
import { findTransactions } from "./find.js";
import type { LedgerTransaction } from "./transaction.js";

/** A record of the journal, and the transaction that it is of, if it is of one. */
export interface Sight extends PlacedRecord {
  readonly transaction: LedgerTransaction | undefined;
}

/** What stands in the journal from `first` to `end`, which is not included. */
export interface Page {
  readonly first: bigint;
  readonly end: bigint;
  readonly sights: readonly Sight[];
  /** The accounts of its transactions, and what its other records are about: who watches nothing of it passes it over. */
  readonly touched: ReadonlySet<Uuid>;
  /** The wallets that were opened, and whose they are. */
  readonly opened: ReadonlyMap<Uuid, Uuid>;
}

/**
 * The end of the journal, for everyone in this process who watches it. While someone does, one reader asks for its size
 * and reads what is new, once; it keeps the latest in memory. Who is further behind reads by themselves, a few at once.
 */
export interface Tail {
  /** Begins to watch. @returns what ends it */
  join(): () => void;
  /**
   * A page that has this place, for one who has joined; undefined when nothing came within the time. Goes on when the
   * database is back. Fails when what was read cannot be right.
   * @param atOnce how many records to read when they are not in memory any more
   */
  next(place: bigint, atOnce: bigint, waitMs: number, signal: AbortSignal): Promise<Page | undefined>;
}

/** What the reader reads at once. */
const PAGE_MAX = 1_000n;
/** Records that are kept in memory; more only when the last page has more. */
const RECENT_MAX = 4_000;
/** Those who are behind leave most connections to others. */
const OWN_READS_MAX = 2;

export function createTail(database: Database): Tail {
  const recent: Page[] = [];
  const waiting = new Set<() => void>();
  const limited = limit(OWN_READS_MAX);
  let watchers = 0;
  let isRunning = false;
  /** Up to where the journal is known to be there; -1 while nothing is known. */
  let end = -1n;
  let fault: unknown;

  const wake = (): void => {
    for (const resolve of waiting) resolve();
  };

  const keep = (page: Page): void => {
    recent.push(page);
    let count = recent.reduce((sum, { sights }) => sum + sights.length, 0);
    while (count > RECENT_MAX && recent.length > 1) count -= recent.shift()?.sights.length ?? 0;
    end = page.end;
  };

  const readOn = async (): Promise<void> => {
    const size = await database.journalSize.next();
    if (end < 0n) {
      end = size;
      wake();
    }
    while (end < size && watchers > 0) {
      keep(await readPage(database.pool, end, least(end + PAGE_MAX, size)));
      wake();
    }
  };

  const run = async (): Promise<void> => {
    isRunning = true;
    fault = undefined;
    while (watchers > 0 && fault === undefined) {
      try {
        await readOn();
      } catch (error) {
        if (!passes(error)) fault = error;
      }
    }
    isRunning = false;
    recent.length = 0;
    end = -1n;
    wake();
  };

  /** Resolves when there is something new, or after the time. */
  const change = (waitMs: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      waiting.add(done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });

  return {
    join: () => {
      watchers += 1;
      if (!isRunning) void run();
      return () => {
        watchers -= 1;
      };
    },
    next: async (place, atOnce, waitMs, signal) => {
      if (place >= end) await change(waitMs, signal);
      if (fault !== undefined) throw fault;
      if (place >= end || signal.aborted) return undefined;
      const inMemory = recent.find((page) => page.first <= place && place < page.end);
      if (inMemory !== undefined) return inMemory;
      const before = least(place + atOnce, end);
      try {
        return await limited(() => readPage(database.pool, place, before));
      } catch (error) {
        if (!passes(error)) throw error;
        await change(waitMs, signal);
        return undefined;
      }
    },
  };
}

async function readPage(client: Queryable, first: bigint, end: bigint): Promise<Page> {
  const records = await readRecords(client, first, end);
  const found = await findTransactions(
    client,
    records.filter(isOfTransaction).map(({ id }) => id),
  );
  const touched = new Set<Uuid>();
  const sights = records.map((record) => {
    const transaction = isOfTransaction(record) ? present(found.get(record.id), "a recorded transaction") : undefined;
    for (const id of transaction === undefined ? [record.id] : accountsOf(transaction)) touched.add(id);
    return { ...record, transaction };
  });
  const opened = records.filter(({ type }) => type === RECORD_TYPE.WALLET_CREATED).map(({ id }) => id);
  return { first, end, sights, touched, opened: await findOwners(client, opened) };
}

function isOfTransaction({ type }: PlacedRecord): boolean {
  return type === RECORD_TYPE.TRANSACTION_POSTED || type === RECORD_TYPE.TRANSACTION_REJECTED;
}

/** The accounts that the transaction touched, or was to touch; one may come twice. */
export function accountsOf({ debitAccountId, creditAccountId, entries }: LedgerTransaction): Uuid[] {
  return [
    debitAccountId,
    ...(creditAccountId === null ? [] : [creditAccountId]),
    ...entries.map(({ accountId }) => accountId),
  ];
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
function passes(error: unknown): boolean {
  return translate(error) instanceof FailureError;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

/** Lets no more than so many works run at once; the others wait in order. */
function limit(max: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = max;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => queue.push(resolve));
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
