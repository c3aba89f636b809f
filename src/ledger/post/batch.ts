import { randomBytes } from "node:crypto";
import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { Account } from "../account/account.js";
import type { Hold, ReadHold } from "../decide/hold.js";
import type { LedgerState, Original } from "../decide/state.js";

/** The state that the decisions of one batch read and change, with the state before it. */
export interface Batch extends LedgerState {
  /** The revision of the ledger that the decisions are made from. */
  readonly revisionBefore: bigint;
  /** The revision after the batch: the ledger's, and that of every hold that a decision has read. */
  readonly revision: bigint;
  /** The accounts that decisions have read. */
  readonly touched: readonly TouchedAccount[];
  /** The holds that decisions have read or made. */
  readonly touchedHolds: readonly TouchedHold[];
}

/** An account that a batch knows. */
export interface TouchedAccount {
  /** As the decisions leave it. */
  account: Account;
  readonly before: Account;
}

/** A hold that a batch knows. */
export interface TouchedHold {
  /** As the decisions leave it. */
  hold: Hold;
  /** As it was; null for one that the batch makes. */
  readonly before: ReadHold | null;
}

/** Opens a batch over the accounts, holds and originals that its commands name, as of a revision of the ledger. */
export function openBatch(
  revisionBefore: bigint,
  known: readonly Account[],
  knownHolds: readonly ReadHold[] = [],
  now: Micros = 0n,
  knownOriginals: readonly Original[] = [],
): Batch {
  const originals = new Map(knownOriginals.map((original) => [original.id, original]));
  const accounts = new Map<Uuid, TouchedAccount & { isTouched: boolean }>();
  for (const account of known) accounts.set(account.id, { account, before: account, isTouched: false });
  const touched: TouchedAccount[] = [];
  const holds = new Map(knownHolds.map((read) => [read.hold.id, read]));
  const touchedHolds = new Map<Uuid, TouchedHold>();
  return {
    now,
    revisionBefore,
    revision: newRevision(),
    touched,
    get touchedHolds() {
      return [...touchedHolds.values()];
    },
    getAccount: (id) => {
      const one = accounts.get(id);
      if (one === undefined) return undefined;
      if (!one.isTouched) {
        one.isTouched = true;
        touched.push(one);
      }
      return one.account;
    },
    setAccount: (id, account) => {
      assertPresent(accounts.get(id), "a known account").account = account;
    },
    getHold: (id) => {
      const one = touchedHolds.get(id);
      if (one !== undefined) return one.hold;
      const before = holds.get(id);
      if (before !== undefined) touchedHolds.set(id, { hold: before.hold, before });
      return before?.hold;
    },
    setHold: (hold) => {
      const one = touchedHolds.get(hold.id);
      if (one === undefined) touchedHolds.set(hold.id, { hold, before: null });
      else one.hold = hold;
    },
    getOriginal: (id) => originals.get(id),
    setOriginal: (original) => originals.set(original.id, original),
  };
}

/** Makes a revision that no other state has: 63 random bits. */
function newRevision(): bigint {
  return randomBytes(8).readBigUInt64BE() >> 1n;
}
