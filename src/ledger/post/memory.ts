import type { Micros } from "../../base/time.js";
import type { Config } from "../../config/config.js";
import type { Account, ReadAccount } from "../account/account.js";
import { findUsesSince, moveUsesTo } from "../account/velocity.js";
import { settleHold, type Hold, type ReadHold } from "../decide/hold.js";
import type { Batch } from "./batch.js";
import { createCache, type Cache } from "./cache.js";

/**
 * The memory of a posting engine: accounts, holds and the time. It holds the effects of a batch in flight at once, so that the
 * next one builds on them; what depends on the time of the record is settled when the database has reported it.
 */
export interface Memory {
  readonly accounts: Cache<ReadAccount>;
  readonly holds: Cache<ReadHold>;
  readonly clock: Clock;
  /** Remembers the effects of the batch. @returns a function that settles them by the time of its record */
  remember(batch: Batch): (recorded: Micros) => void;
}

/** The database's clock, extrapolated by this process's own. */
export interface Clock {
  set(micros: Micros): void;
  /** undefined before the database has been read once. */
  now(): Micros | undefined;
}

/** An account as a batch leaves it. Later batches may hold it already, so it is settled in place. */
interface RememberedAccount {
  account: Account;
  readonly revision: bigint;
  /** The revision of the state that the batch built on. */
  readonly revisionBefore: bigint;
}

interface RememberedHold {
  hold: Hold;
  readonly revision: bigint;
}

export function createMemory({ GREY_POSTING_CACHE_MAX: max }: Pick<Config, "GREY_POSTING_CACHE_MAX">): Memory {
  const accounts = createCache<ReadAccount>(Math.ceil(max / 2));
  const holds = createCache<ReadHold>(Math.ceil(max / 2));
  const clock = createClock();

  /** Moves uses of velocity limits to the time of their record, which may be in a later slice than their decision. */
  function settlingUse(entry: RememberedAccount, before: Account): (recorded: Micros) => void {
    const uses = findUsesSince(entry.account.velocity, before.velocity);
    const settle = (one: RememberedAccount, recorded: Micros): void => {
      if (one.account.velocity !== null)
        one.account = { ...one.account, velocity: moveUsesTo(one.account.velocity, uses, recorded) };
    };
    return (recorded) => {
      settle(entry, recorded);
      // A later batch has built on it.
      const latest = accounts.get(entry.account.id) as RememberedAccount | undefined;
      if (latest?.revisionBefore === entry.revision) settle(latest, recorded);
    };
  }

  /** Sets the times of the hold. */
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
    accounts,
    holds,
    clock,
    remember: (batch) => {
      const { revision } = batch;
      const settling: ((recorded: Micros) => void)[] = [];
      for (const { account, before, revisionBefore } of batch.touched) {
        const entry: RememberedAccount = { account, revision, revisionBefore };
        accounts.set(account.id, entry);
        if (account.velocity !== before.velocity) settling.push(settlingUse(entry, before));
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
