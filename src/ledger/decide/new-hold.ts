import { HOLD_STATE, type TransactionKind } from "../../base/codes.js";
import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import type { Micros } from "../../base/time.js";
import { enterChange, type Account, type Change } from "../account/account.js";
import { toEntry } from "../account/entry.js";
import type { Use } from "../account/velocity.js";
import type { Expiry, HoldCommand } from "../command/command.js";
import { checkAccount, checkFunds, checkUse, countUse } from "./account-checks.js";
import type { Movement, Posted, RecordedDecision } from "./decision.js";
import type { Hold } from "./hold.js";
import type { LedgerState } from "./state.js";

/** The longest that a hold may last: 400 days. */
export const HOLD_MICROS_MAX = 400n * 86_400n * 1_000_000n;

/**
 * Decides a new hold and, when it is posted, changes the accounts: the amount is pending on the wallet's debit side, and on the
 * credit side of the wallet that it is for.
 *
 * The first broken rule of this order is the failure: SAME_WALLET; that the wallets exist; that each has the
 * currency, is not closed, is not frozen; the expiry; then the funds of the one and the maximum balance of the other; then the
 * velocity limits.
 */
export function decideHold(state: LedgerState, command: HoldCommand): RecordedDecision {
  const { kind, walletId, toWalletId, amountMinor, currencyCode, expiry } = command;
  const movement = toHoldMovement(kind, walletId, toWalletId, currencyCode, amountMinor);
  const refuse = (failure: Failure): RecordedDecision => ({ movement, failure });
  if (walletId === toWalletId) return refuse({ reason: "SAME_WALLET", walletId });
  const wallet = findWallet(state, walletId);
  if (wallet === undefined) return refuse({ reason: "WALLET_NOT_FOUND", walletId });
  const to = toWalletId === null ? null : findWallet(state, toWalletId);
  if (to === undefined) return refuse({ reason: "WALLET_NOT_FOUND", walletId: toWalletId ?? "" });
  const failure =
    checkAccount(wallet, currencyCode) ??
    (to === null ? undefined : checkAccount(to, currencyCode)) ??
    checkExpiry(state.now, expiry, state.now) ??
    checkReserve(state, wallet, to, { amountMinor, count: 1n });
  if (failure !== undefined) return refuse(failure);
  const hold: Hold = {
    id: command.transactionId,
    accountId: walletId,
    toAccountId: toWalletId,
    currencyCode,
    amountMinor,
    capturedMinor: 0n,
    state: HOLD_STATE.ACTIVE,
    ...toHoldExpiry(expiry),
    createTime: null,
    updateTime: null,
  };
  return applyHoldChange(state, movement, hold, reserve(state, wallet, to, { amountMinor, count: 1n }));
}

/** Returns the movement of a hold or of a step of one. */
export function toHoldMovement(
  kind: TransactionKind,
  debitAccountId: Uuid,
  creditAccountId: Uuid | null,
  currencyCode: string,
  amountMinor: bigint,
): Movement {
  return {
    kind,
    debitAccountId,
    creditAccountId,
    currencyCode,
    amountMinor,
    effectiveTime: null,
    legs: null,
    exchange: null,
  };
}

/** An account and the change that a hold or a step makes of it; null where there is no account. */
type AccountChange = readonly [account: Account | null, change: Change];

/** Changes the accounts, the holder's first, and the hold. */
export function applyHoldChange(
  state: LedgerState,
  movement: Movement,
  hold: Hold,
  changes: readonly AccountChange[],
): Posted {
  const entries = changes.flatMap(([account, change]) => {
    if (account === null) return [];
    const after = enterChange(account, change);
    state.setAccount(account.id, after);
    return [toEntry(after, change.debit ?? 0n)];
  });
  state.setHold(hold);
  return { movement, entries, hold };
}

/** Returns the expiry as a hold has it. */
export function toHoldExpiry(expiry: Expiry): Pick<Hold, "expireTime" | "expiresInMicros"> {
  return "at" in expiry
    ? { expireTime: expiry.at, expiresInMicros: null }
    : { expireTime: null, expiresInMicros: expiry.inMicros };
}

/** @param after the time that the expiry must be later than */
export function checkExpiry(now: Micros, expiry: Expiry, after: Micros): Failure | undefined {
  const at = "at" in expiry ? expiry.at : now + expiry.inMicros;
  return at <= after || at <= now || at - now > HOLD_MICROS_MAX ? { reason: "EXPIRY_INVALID" } : undefined;
}

/** An amount to reserve; an increase of a hold counts as more money, and not as one more hold. */
type Reserve = Pick<Use, "amountMinor" | "count">;

/** Checks that the amount can be held: funds, maximum balance, the range of int64, velocity limits. */
export function checkReserve(
  state: LedgerState,
  wallet: Account,
  to: Account | null,
  amount: Reserve,
): Failure | undefined {
  const { amountMinor } = amount;
  return (
    checkFunds(wallet, amountMinor, "DEBIT") ??
    (to === null ? undefined : checkFunds(to, amountMinor, "CREDIT")) ??
    checkPending(wallet.id, wallet.pendingDebitsMinor + amountMinor) ??
    (to === null ? undefined : checkPending(to.id, to.pendingCreditsMinor + amountMinor)) ??
    checkUse(state, wallet, { ...amount, ...HELD_FROM }) ??
    (to === null ? undefined : checkUse(state, to, { ...amount, ...HELD_FOR }))
  );
}

/** Checks the range of a pending sum: with an overdraft it may exceed any balance. */
function checkPending(accountId: Uuid, pendingMinor: bigint): Failure | undefined {
  return isInt64(pendingMinor) ? undefined : { reason: "BALANCE_OVERFLOW", accountId };
}

/** Returns the changes of the accounts that hold the amount. */
export function reserve(
  state: LedgerState,
  wallet: Account,
  to: Account | null,
  amount: Reserve,
): readonly AccountChange[] {
  const { amountMinor } = amount;
  return [
    [countUse(state, wallet, { ...amount, ...HELD_FROM }), { pendingDebits: amountMinor }],
    [to === null ? null : countUse(state, to, { ...amount, ...HELD_FOR }), { pendingCredits: amountMinor }],
  ];
}

const HELD_FROM = { direction: "OUTGOING", kind: "HOLD" } as const;
const HELD_FOR = { direction: "INCOMING", kind: "HOLD" } as const;

function findWallet(state: LedgerState, id: Uuid): Account | undefined {
  const account = state.getAccount(id);
  return account?.isWallet === true ? account : undefined;
}
