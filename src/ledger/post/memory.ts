import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { Config } from "../../config/config.js";
import type { JournalHead } from "../../journal/head.js";
import type { Account } from "../account/account.js";
import { findUsesSince, moveUsesTo, type Slice } from "../account/velocity.js";
import { settleHold, type Hold, type ReadHold } from "../decide/hold.js";
import { createAccountTable } from "./account-table.js";
import type { Batch, TouchedAccount } from "./batch.js";
import { createCache, type Cache } from "./cache.js";

/**
 * What a posting engine remembers of the ledger, as of a place in the journal, and over it the batches that it has sent since: the
 * next batch builds on these at once. What depends on the time of the record is settled when the database has reported it.
 *
 * It is exact, not guessed: as long as the journal's head has the revision of that place, the accounts are as remembered. Holds
 * have revisions of their own.
 */
export interface Memory {
  /** The place; undefined before the ledger was first read. */
  readonly place: Place | undefined;
  /** The revision that the ledger has once all that was sent is written. */
  readonly revision: bigint | undefined;
  getAccount(id: Uuid): Account | undefined;
  /** Keeps accounts that were read at the place or later: if one has changed since the place, so has the head's revision. */
  keep(accounts: readonly Account[]): void;
  readonly holds: Cache<ReadHold>;
  readonly clock: Clock;
  /** Adds the effects of a batch. @returns a function that settles them once it is written */
  send(batch: Batch): (recorded: Recorded) => void;
  /** Drops what was sent and is not settled: one of these batches was not written, and those after it build on it. */
  drop(): void;
  /** Moves to a place whose changes were kept. */
  moveTo(place: Place): void;
  /** Forgets the accounts. */
  clear(): void;
  /** The part of the memory for accounts that is in use, from 0 to 1. */
  readonly fill: number;
  /**
   * Reads accounts and keeps those that it does not remember, although postings go on meanwhile: not those that it remembered and
   * forgot in that time, and none if it followed others.
   * @returns false if it kept none, for another attempt
   */
  keepOthers(read: () => Promise<readonly Account[]>): Promise<boolean>;
}

/** A place in the journal. */
export interface Place extends JournalHead {
  /** The id of the last record before it; null in an empty journal. */
  readonly lastId: Uuid | null;
}

/** Where and when a batch was recorded. */
export interface Recorded {
  /** The journal's size and its last record's id after it. */
  readonly size: bigint;
  readonly lastId: Uuid;
  readonly createTime: Micros;
}

/** The database's clock, extrapolated by this process's own. */
export interface Clock {
  set(micros: Micros): void;
  /** undefined before the database has been read once. */
  now(): Micros | undefined;
}

/** An account as a batch leaves it. */
interface SentAccount {
  /** Settled in place, also by the batch before. */
  account: Account;
  /** What it builds on, if that is not settled yet. */
  previous: SentAccount | undefined;
  /** What it uses of each velocity limit. */
  readonly uses: readonly (Slice | undefined)[];
}

interface RememberedHold {
  hold: Hold;
  readonly revision: bigint;
}

/** The holds that a generation of their cache has. */
const HOLDS_MAX = 50_000;

export function createMemory({
  GREY_POSTING_MEMORY_BYTES: bytesMax,
}: Pick<Config, "GREY_POSTING_MEMORY_BYTES">): Memory {
  const table = createAccountTable(bytesMax);
  const sent = new Map<Uuid, SentAccount>();
  const holds = createCache<ReadHold>(HOLDS_MAX);
  const clock = createClock();
  let place: Place | undefined;
  let revision: bigint | undefined;
  let moves = 0;

  /** Moves uses of velocity limits to the time of their record, which may be in a later slice than their decision. */
  function settleUses(one: SentAccount, recorded: Micros): void {
    const latest = sent.get(one.account.id);
    const isBuiltOn = latest?.previous === one;
    if (isBuiltOn) latest.previous = undefined;
    if (one.uses.length === 0) return;
    one.account = moveUses(one.account, one.uses, recorded);
    if (isBuiltOn) latest.account = moveUses(latest.account, one.uses, recorded);
  }

  /** Returns a function that sets the times of the hold. */
  function settlingHold(entry: RememberedHold): (recorded: Micros) => void {
    return (recorded) => {
      const decided = entry.hold;
      entry.hold = settleHold(decided, recorded);
      // A later batch has read the hold, and left it as it was.
      const latest: RememberedHold | undefined = holds.get(decided.id);
      if (latest?.hold === decided) latest.hold = entry.hold;
    };
  }

  return {
    get place() {
      return place;
    },
    get revision() {
      return revision;
    },
    getAccount: (id) => sent.get(id)?.account ?? table.get(id),
    keep: (accounts) => accounts.forEach(table.set),
    holds,
    clock,

    send: (batch) => {
      const revisionBefore = revision;
      const accounts: SentAccount[] = [];
      for (const touched of batch.touched) {
        if (touched.account === touched.before) continue;
        const { id } = touched.account;
        const one = { account: touched.account, previous: sent.get(id), uses: listUses(touched) };
        accounts.push(one);
        sent.set(id, one);
      }
      const settling: ((recorded: Micros) => void)[] = [];
      for (const { hold, before } of batch.touchedHolds) {
        const entry: RememberedHold = { hold, revision: batch.revision };
        holds.set(hold.id, entry);
        if (hold !== before?.hold) settling.push(settlingHold(entry));
      }
      revision = batch.revision;
      return ({ size, lastId, createTime }) => {
        clock.set(createTime);
        // The batch before it was dropped, although it was written: the place stays, and the journal tells what followed.
        if (place === undefined || place.revision !== revisionBefore) return;
        for (const one of accounts) {
          settleUses(one, createTime);
          table.set(one.account);
          if (sent.get(one.account.id) === one) sent.delete(one.account.id);
        }
        for (const settle of settling) settle(createTime);
        place = { size, lastId, revision: batch.revision, accountChanges: place.accountChanges };
      };
    },

    drop: () => {
      sent.clear();
      revision = place?.revision;
    },
    moveTo: (next) => {
      moves += 1;
      place = next;
      revision = next.revision;
    },
    clear: () => {
      moves += 1;
      table.clear();
    },
    get fill() {
      return table.fill;
    },
    keepOthers: async (read) => {
      const movesBefore = moves;
      const forgotten = new Set<Uuid>();
      table.collectEvicted(forgotten);
      const accounts = await read().finally(() => table.collectEvicted(undefined));
      if (moves !== movesBefore) return false;
      for (const account of accounts) {
        const { id } = account;
        if (!sent.has(id) && !forgotten.has(id) && table.get(id) === undefined) table.set(account);
      }
      return true;
    },
  };
}

function listUses({ account, before }: TouchedAccount): readonly (Slice | undefined)[] {
  return account.velocity === before.velocity ? NO_USES : findUsesSince(account.velocity, before.velocity);
}

const NO_USES: readonly (Slice | undefined)[] = [];

function moveUses(account: Account, uses: readonly (Slice | undefined)[], recorded: Micros): Account {
  return account.velocity === null ? account : { ...account, velocity: moveUsesTo(account.velocity, uses, recorded) };
}

function createClock(): Clock {
  let reading: { readonly micros: Micros; readonly atMs: number } | undefined;
  return {
    set: (micros) => {
      reading = { micros, atMs: performance.now() };
    },
    now: () =>
      reading === undefined
        ? undefined
        : reading.micros + BigInt(Math.round((performance.now() - reading.atMs) * 1_000)),
  };
}
