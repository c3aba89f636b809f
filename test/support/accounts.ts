import { ACCOUNT_STATE, NORMAL_SIDE } from "../../src/base/codes.js";
import type { Uuid } from "../../src/base/ids.js";
import type { Account } from "../../src/ledger/account/account.js";

/** Returns the account of a wallet: open, in US dollars, without balance and overdraft by default. */
export function walletAccount(id: Uuid, over: Partial<Account> = {}): Account {
  return {
    id,
    isWallet: true,
    currencyCode: "USD",
    normalSide: NORMAL_SIDE.CREDIT,
    state: ACCOUNT_STATE.OPEN,
    balanceMinor: 0n,
    pendingDebitsMinor: 0n,
    pendingCreditsMinor: 0n,
    minBalanceMinor: 0n,
    maxBalanceMinor: null,
    velocity: null,
    sequence: 0n,
    ...over,
  };
}
