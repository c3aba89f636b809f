import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { Account } from "../account/account.js";
import type { Movement } from "./decision.js";
import type { Hold } from "./hold.js";

/** The part of the books that decisions read and change. */
export interface LedgerState {
  getAccount(id: Uuid): Account | undefined;
  setAccount(id: Uuid, account: Account): void;
  getHold(id: Uuid): Hold | undefined;
  setHold(hold: Hold): void;
  /** A transaction that a command reverses. */
  getOriginal(id: Uuid): Original | undefined;
  setOriginal(original: Original): void;
  /** The time by the database's clock, as far as it is known; the database itself settles whether a hold has expired. */
  readonly now: Micros;
}

/** A recorded transaction, and how much of it is reversed. */
export interface Original {
  readonly id: Uuid;
  readonly movement: Movement;
  readonly isPosted: boolean;
  readonly createTime: Micros;
  /** Minor units. */
  readonly reversedMinor: bigint;
  /** The number of its reversals. */
  readonly reversalCount: number;
  /** Minor units of each leg, in their order; empty for a transaction without legs. */
  readonly reversedLegs: readonly bigint[];
}

/** A state over another one, which changes only when the draft is applied. */
export interface Draft extends LedgerState {
  apply(): void;
}

export function createDraft(state: LedgerState): Draft {
  const accounts = new Map<Uuid, Account>();
  const holds = new Map<Uuid, Hold>();
  const originals = new Map<Uuid, Original>();
  return {
    now: state.now,
    getAccount: (id) => accounts.get(id) ?? state.getAccount(id),
    setAccount: (id, account) => accounts.set(id, account),
    getHold: (id) => holds.get(id) ?? state.getHold(id),
    setHold: (hold) => holds.set(hold.id, hold),
    getOriginal: (id) => originals.get(id) ?? state.getOriginal(id),
    setOriginal: (original) => originals.set(original.id, original),
    apply: () => {
      for (const [id, account] of accounts) state.setAccount(id, account);
      for (const hold of holds.values()) state.setHold(hold);
      for (const original of originals.values()) state.setOriginal(original);
    },
  };
}
