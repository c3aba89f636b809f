import type { Failure } from "../../base/failure.js";
import { systemAccountId, type Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import type { Micros } from "../../base/time.js";
import { HOLD_STATE } from "../../base/codes.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import type { Account, LedgerState } from "../account/books.js";
import { getRemainingMinor, type Hold } from "./hold.js";
import { checkAccount, applyChange, countUse, toEntry, checkFunds, checkUse, type Decision } from "./movement.js";
import type { Expiry, HoldCommand, HoldStepCommand, Movement } from "../transaction/transaction.js";
import type { Use } from "../account/velocity.js";

/** The longest that a hold may be asked to last: 400 days. */
export const HOLD_MICROS_MAX = 400n * 86_400n * 1_000_000n;

/**
 * Decides a new hold against the books and, when it is posted, changes them: the amount is pending on the wallet's debit side,
 * and on the credit side of the wallet that it is for.
 *
 * When several rules refuse, the first of this order answers: SAME_WALLET; that the wallets exist; that each has the
 * currency, is not closed, is not frozen; the expiry; then the funds of the one and the room of the other; then the limits
 * by velocity.
 */
export function decideHold(state: LedgerState, command: HoldCommand): Decision {
  const { walletId, toWalletId, amountMinor, currencyCode, expiry } = command;
  const movement = toMovement(command, {
    debitAccountId: walletId,
    creditAccountId: toWalletId,
    currencyCode,
    amountMinor,
  });
  const refuse = (failure: Failure): Decision => ({ movement, failure });
  if (walletId === toWalletId) return refuse({ reason: "SAME_WALLET", walletId });
  const wallet = findWallet(state, walletId);
  if (wallet === undefined) return refuse({ reason: "WALLET_NOT_FOUND", walletId });
  const to = toWalletId === null ? null : findWallet(state, toWalletId);
  if (to === undefined) return refuse({ reason: "WALLET_NOT_FOUND", walletId: toWalletId ?? "" });
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
  const failure =
    checkAccount(wallet, currencyCode) ??
    (to === null ? undefined : checkAccount(to, currencyCode)) ??
    checkExpiry(state.now, expiry, state.now) ??
    checkReserve(state, wallet, to, { amountMinor, count: 1n });
  if (failure !== undefined) return refuse(failure);
  return post(state, movement, hold, reserve(state, wallet, to, { amountMinor, count: 1n }));
}

/**
 * Decides what is to become of a hold and, when it is posted, changes the books.
 *
 * When several rules refuse, the first of this order answers: that there is such a hold; that it has not ended, has not
 * expired; the currency; that the accounts are neither closed nor frozen (holds are released and expire all the same); what
 * is left of it; the new expiry; then funds and room.
 */
export function decideHoldStep(state: LedgerState, command: HoldStepCommand): Decision {
  const hold = state.getHold(command.holdId);
  if (hold === undefined) return { unkept: { reason: "HOLD_NOT_FOUND", holdId: command.holdId } };
  // The hold's own wallets are read whatever comes of it: their revisions guard the hold's too.
  const wallet = state.getAccount(hold.accountId);
  if (wallet === undefined) return { unkept: { reason: "HOLD_NOT_FOUND", holdId: command.holdId } };
  const remaining = getRemainingMinor(hold);
  if (command.kind === TRANSACTION_KIND.HOLD_EXPIRY) return decideExpiry(state, command, hold, wallet, remaining);
  const asked = command.amount?.amountMinor ?? remaining;
  const toId = getDestination(hold, command);
  const movement = toMovement(command, {
    debitAccountId: hold.accountId,
    creditAccountId: toId,
    currencyCode: command.amount?.currencyCode ?? hold.currencyCode,
    amountMinor: command.kind === TRANSACTION_KIND.HOLD_EXTENSION ? 0n : asked,
  });
  const refuse = (failure: Failure): Decision => ({ movement, failure });
  if (hold.state === HOLD_STATE.EXPIRED || (hold.state === HOLD_STATE.ACTIVE && hasExpired(hold, state.now)))
    return refuse({ reason: "HOLD_EXPIRED", holdId: hold.id });
  if (hold.state !== HOLD_STATE.ACTIVE)
    return refuse({ reason: "HOLD_ENDED", holdId: hold.id, holdState: STATE_NAMES[hold.state] });
  const to = toId === null ? null : (state.getAccount(toId) ?? null);
  switch (command.kind) {
    case TRANSACTION_KIND.HOLD_RELEASE: {
      const released = { ...hold, state: HOLD_STATE.RELEASED };
      return post(state, movement, released, [
        [wallet, { pendingDebits: -remaining }],
        [to, { pendingCredits: -remaining }],
      ]);
    }
    case TRANSACTION_KIND.HOLD_INCREASE: {
      const failure =
        checkAccount(wallet, movement.currencyCode) ??
        (to === null ? undefined : checkAccount(to, movement.currencyCode)) ??
        checkReserve(state, wallet, to, { amountMinor: asked, count: 0n });
      if (failure !== undefined) return refuse(failure);
      // All that was ever held counts, what was captured of it too.
      if (!isInt64(hold.amountMinor + asked)) return refuse({ reason: "BALANCE_OVERFLOW", accountId: wallet.id });
      const held = { ...hold, amountMinor: hold.amountMinor + asked };
      return post(state, movement, held, reserve(state, wallet, to, { amountMinor: asked, count: 0n }));
    }
    case TRANSACTION_KIND.HOLD_EXTENSION: {
      const expiry = command.expiry ?? { inMicros: 0n };
      const failure =
        checkAccount(wallet, hold.currencyCode) ??
        (to === null ? undefined : checkAccount(to, hold.currencyCode)) ??
        checkExpiry(state.now, expiry, getExpireTime(hold, state.now));
      if (failure !== undefined) return refuse(failure);
      return post(state, movement, { ...hold, ...toHoldExpiry(expiry) }, [[wallet, {}]]);
    }
    case TRANSACTION_KIND.HOLD_CAPTURE:
      return decideCapture(state, command, hold, movement, wallet, to, remaining);
  }
}

function decideCapture(
  state: LedgerState,
  command: HoldStepCommand,
  hold: Hold,
  movement: Movement,
  wallet: Account,
  to: Account | null,
  remaining: bigint,
): Decision {
  const refuse = (failure: Failure): Decision => ({ movement, failure });
  const { amountMinor, currencyCode } = movement;
  const { to: asked } = command;
  if (hold.toAccountId !== null && asked !== null && movement.creditAccountId !== hold.toAccountId)
    return refuse({ reason: "HOLD_HAS_DESTINATION", holdId: hold.id, walletId: hold.toAccountId });
  if (to === null || to.isWallet !== isToWallet(hold, command)) {
    return refuse(
      asked !== null && "walletId" in asked
        ? { reason: "WALLET_NOT_FOUND", walletId: asked.walletId }
        : { reason: "ACCOUNT_NOT_FOUND", systemAccount: asked?.systemAccount ?? DEFAULT_DESTINATION, currencyCode },
    );
  }
  if (to.id === wallet.id) return refuse({ reason: "SAME_WALLET", walletId: wallet.id });
  const failure = checkAccount(wallet, currencyCode) ?? checkAccount(to, currencyCode);
  if (failure !== undefined) return refuse(failure);
  if (amountMinor > remaining) {
    return refuse({
      reason: "HOLD_EXCEEDED",
      holdId: hold.id,
      currencyCode,
      remainingMinorUnits: remaining,
      requiredMinorUnits: amountMinor,
    });
  }
  const isLast = command.isFinal || amountMinor === remaining;
  const unheld = isLast ? remaining : amountMinor;
  const isHeldForIt = hold.toAccountId !== null;
  // What is no longer pending is there to be spent, and its room is there to be filled.
  const before = applyChange(wallet, { pendingDebits: -unheld });
  const toBefore = isHeldForIt ? applyChange(to, { pendingCredits: -unheld }) : to;
  const use: Use = { direction: "INCOMING", kind: command.kind, amountMinor, count: 1n };
  // What comes to the wallet that the hold is for was counted when it was held.
  const counts = !isHeldForIt && amountMinor > 0n;
  const refusal =
    checkFunds(before, amountMinor, "DEBIT") ??
    checkFunds(toBefore, amountMinor, "CREDIT") ??
    (counts ? checkUse(state, to, use) : undefined);
  if (refusal !== undefined) return refuse(refusal);
  const capturedMinor = hold.capturedMinor + amountMinor;
  const ended = capturedMinor > 0n ? HOLD_STATE.CAPTURED : HOLD_STATE.RELEASED;
  const after = { ...hold, capturedMinor, state: isLast ? ended : hold.state };
  // Nothing goes to an account that the hold was not for.
  if (amountMinor === 0n && !isHeldForIt)
    return post(state, { ...movement, creditAccountId: null }, after, [[wallet, { pendingDebits: -unheld }]]);
  return post(state, movement, after, [
    [wallet, { debit: amountMinor, pendingDebits: -unheld }],
    [counts ? countUse(state, to, use) : to, { debit: -amountMinor, pendingCredits: isHeldForIt ? -unheld : 0n }],
  ]);
}

/** The end of a hold whose time has come. What does not, or not yet, apply leaves no trace: nobody asked for it. */
function decideExpiry(
  state: LedgerState,
  command: HoldStepCommand,
  hold: Hold,
  wallet: Account,
  remaining: bigint,
): Decision {
  if (hold.state !== HOLD_STATE.ACTIVE || !hasExpired(hold, state.now))
    return { unkept: { reason: "HOLD_NOT_FOUND", holdId: hold.id } };
  const movement = toMovement(command, {
    debitAccountId: hold.accountId,
    creditAccountId: hold.toAccountId,
    currencyCode: hold.currencyCode,
    amountMinor: remaining,
  });
  return post(state, movement, { ...hold, state: HOLD_STATE.EXPIRED }, [
    [wallet, { pendingDebits: -remaining }],
    [hold.toAccountId === null ? null : (state.getAccount(hold.toAccountId) ?? null), { pendingCredits: -remaining }],
  ]);
}

/** Whether the hold's time has come; of a hold whose time is not known yet, it has not. */
export function hasExpired({ expireTime }: Hold, now: Micros): boolean {
  return expireTime !== null && now >= expireTime;
}

/** When the hold expires; of one whose expiry is counted from this batch on, as far as is known. */
function getExpireTime({ expireTime, expiresInMicros }: Hold, now: Micros): Micros {
  return expireTime ?? now + (expiresInMicros ?? 0n);
}

const STATE_NAMES = { 1: "ACTIVE", 2: "CAPTURED", 3: "RELEASED", 4: "EXPIRED" } as const;

/** The system account that captured money goes to when neither the hold nor the capture says where. */
const DEFAULT_DESTINATION = "cash";

/** The account on the other side of a step; null for none. */
function getDestination(hold: Hold, { kind, to }: HoldStepCommand): Uuid | null {
  if (kind !== TRANSACTION_KIND.HOLD_CAPTURE) return hold.toAccountId;
  if (to !== null) return "walletId" in to ? to.walletId : systemAccountId(hold.currencyCode, to.systemAccount);
  return hold.toAccountId ?? systemAccountId(hold.currencyCode, DEFAULT_DESTINATION);
}

function isToWallet(hold: Hold, { to }: HoldStepCommand): boolean {
  return to === null ? hold.toAccountId !== null : "walletId" in to;
}

/** The accounts that a step of this hold may touch. */
export function listHoldAccounts(hold: Hold, command: HoldStepCommand): Uuid[] {
  const ids = new Set([hold.accountId]);
  if (hold.toAccountId !== null) ids.add(hold.toAccountId);
  const to = getDestination(hold, command);
  if (to !== null) ids.add(to);
  return [...ids];
}

function findWallet(state: LedgerState, id: Uuid): Account | undefined {
  const account = state.getAccount(id);
  return account?.isWallet === true ? account : undefined;
}

function toHoldExpiry(expiry: Expiry): Pick<Hold, "expireTime" | "expiresInMicros"> {
  return "at" in expiry
    ? { expireTime: expiry.at, expiresInMicros: null }
    : { expireTime: null, expiresInMicros: expiry.inMicros };
}

/** @param after the time that the expiry must be later than */
function checkExpiry(now: Micros, expiry: Expiry, after: Micros): Failure | undefined {
  const at = "at" in expiry ? expiry.at : now + expiry.inMicros;
  return at <= after || at <= now || at - now > HOLD_MICROS_MAX ? { reason: "EXPIRY_INVALID" } : undefined;
}

/** What is to be held: it counts as held money, an increase as more of it. */
type Reserve = Pick<Use, "amountMinor" | "count">;

/** Why so much cannot be held: the one lacks it, the other has no room for it, or a limit by velocity of either is used up. */
function checkReserve(state: LedgerState, wallet: Account, to: Account | null, reserve: Reserve): Failure | undefined {
  const { amountMinor } = reserve;
  return (
    checkFunds(wallet, amountMinor, "DEBIT") ??
    (to === null ? undefined : checkFunds(to, amountMinor, "CREDIT")) ??
    checkPending(wallet.id, wallet.pendingDebitsMinor + amountMinor) ??
    (to === null ? undefined : checkPending(to.id, to.pendingCreditsMinor + amountMinor)) ??
    checkUse(state, wallet, { ...reserve, ...HELD_FROM }) ??
    (to === null ? undefined : checkUse(state, to, { ...reserve, ...HELD_FOR }))
  );
}

/** Why so much cannot be pending: beyond an overdraft it may be more than any balance. */
function checkPending(accountId: Uuid, pendingMinor: bigint): Failure | undefined {
  return isInt64(pendingMinor) ? undefined : { reason: "BALANCE_OVERFLOW", accountId };
}

/** What holding so much does to the accounts. */
function reserve(state: LedgerState, wallet: Account, to: Account | null, reserve: Reserve): readonly AccountChange[] {
  const { amountMinor } = reserve;
  return [
    [countUse(state, wallet, { ...reserve, ...HELD_FROM }), { pendingDebits: amountMinor }],
    [to === null ? null : countUse(state, to, { ...reserve, ...HELD_FOR }), { pendingCredits: amountMinor }],
  ];
}

const HELD_FROM = { direction: "OUTGOING", kind: TRANSACTION_KIND.HOLD } as const;
const HELD_FOR = { direction: "INCOMING", kind: TRANSACTION_KIND.HOLD } as const;

function toMovement(
  { kind, requestId, description, metadata, terms, externalReference }: HoldCommand | HoldStepCommand,
  sides: Pick<Movement, "debitAccountId" | "creditAccountId" | "currencyCode" | "amountMinor">,
): Movement {
  return {
    kind,
    requestId,
    description,
    metadata,
    terms,
    externalReference,
    effectiveTime: null,
    legs: null,
    detail: null,
    ...sides,
  };
}

/** What a step does to an account: minor units on its debit side, and to what is pending. */
interface Change {
  readonly debit?: bigint;
  readonly pendingDebits?: bigint;
  readonly pendingCredits?: bigint;
}

type AccountChange = readonly [account: Account | null, change: Change];

/** Changes the books: the wallet first, then the account on the other side, if any. */
function post(state: LedgerState, movement: Movement, hold: Hold, changes: readonly AccountChange[]): Decision {
  const entries = changes.flatMap(([account, change]) => {
    if (account === null) return [];
    const after = applyChange(account, { ...change, isEntered: true });
    state.setAccount(account.id, after);
    return [toEntry(after, change.debit ?? 0n)];
  });
  state.setHold(hold);
  return { movement, entries, hold };
}
