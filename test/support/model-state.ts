import type { Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import type { Account } from "../../src/ledger/account/account.js";
import type { LedgerState, Original } from "../../src/ledger/decide/state.js";
import type { Hold } from "../../src/ledger/decide/hold.js";

/** A ledger state in memory, for tests of the pure rules. */
export class ModelState extends Map<Uuid, Account> implements LedgerState {
  readonly holds = new Map<Uuid, Hold>();
  now: Micros = 0n;

  getAccount(id: Uuid): Account | undefined {
    return this.get(id);
  }

  setAccount(id: Uuid, account: Account): void {
    this.set(id, account);
  }

  getHold(id: Uuid): Hold | undefined {
    return this.holds.get(id);
  }

  getOriginal(): Original | undefined {
    return undefined;
  }

  setOriginal(): void {
    throw new Error("the model has no transactions");
  }

  setHold(hold: Hold): void {
    this.holds.set(hold.id, hold);
  }
}

export function createModelState(accounts: readonly Account[]): ModelState {
  return new ModelState(accounts.map((account) => [account.id, account]));
}
