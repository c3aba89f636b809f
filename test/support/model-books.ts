import type { Uuid } from "../../src/base/ids.js";
import type { Micros } from "../../src/base/time.js";
import type { Account } from "../../src/ledger/account/account.js";
import type { LedgerState, Original } from "../../src/ledger/decide/state.js";
import type { Hold } from "../../src/ledger/decide/hold.js";

/** Books in memory, for the pure rules to be asked by themselves. */
export class ModelBooks extends Map<Uuid, Account> implements LedgerState {
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
    throw new Error("this model knows no transactions");
  }

  setHold(hold: Hold): void {
    this.holds.set(hold.id, hold);
  }
}

export function modelBooks(accounts: readonly Account[]): ModelBooks {
  return new ModelBooks(accounts.map((account) => [account.id, account]));
}
