import type { Uuid } from "../../base/ids.js";
import type { Account, LedgerState, Original } from "../account/books.js";
import type { Hold } from "./hold.js";

/** Books over others, which change only when the draft is kept. */
export function createDraft(state: LedgerState): LedgerState & { keep(): void } {
  const changed = new Map<Uuid, Account>();
  const holds = new Map<Uuid, Hold>();
  const originals = new Map<Uuid, Original>();
  return {
    now: state.now,
    getAccount: (id) => changed.get(id) ?? state.getAccount(id),
    setAccount: (id, account) => changed.set(id, account),
    getHold: (id) => holds.get(id) ?? state.getHold(id),
    setHold: (hold) => holds.set(hold.id, hold),
    getOriginal: (id) => originals.get(id) ?? state.getOriginal(id),
    setOriginal: (original) => originals.set(original.transaction.id, original),
    keep: () => {
      for (const [id, account] of changed) state.setAccount(id, account);
      for (const hold of holds.values()) state.setHold(hold);
      for (const original of originals.values()) state.setOriginal(original);
    },
  };
}
