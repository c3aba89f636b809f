import { HOLD_STATE } from "../../base/codes.js";
import type { Failure } from "../../base/failure.js";
import { systemAccountId, type Uuid } from "../../base/ids.js";
import { isInt64 } from "../../base/money.js";
import type { Micros } from "../../base/time.js";
import { applyChange, type Account } from "../account/account.js";
import type { Use } from "../account/velocity.js";
import type {
  CaptureHoldCommand,
  ExpireHoldCommand,
  ExtendHoldCommand,
  HoldStepCommand,
  IncreaseHoldCommand,
} from "../command/command.js";
import { SYSTEM_ACCOUNT } from "../command/system-account.js";
import { checkAccount, checkFunds, checkUse, countUse } from "./account-checks.js";
import type { Decision, Movement, RecordedDecision } from "./decision.js";
import { checkExpiry, checkReserve, applyHoldChange, reserve, toHoldExpiry, toHoldMovement } from "./new-hold.js";
import { getRemainingMinor, hasExpired, type Hold } from "./hold.js";
import type { LedgerState } from "./state.js";

/** A hold and the accounts of a step of it. */
interface Step {
  readonly hold: Hold;
  readonly remaining: bigint;
  readonly wallet: Account;
  /** The account on the other side; null for none, or one that does not exist. */
  readonly to: Account | null;
  readonly movement: Movement;
}

/**
 * Decides a step of a hold and, when it is posted, changes the hold and its accounts.
 *
 * The first broken rule of this order is the failure: that the hold exists; that it has not ended, has not
 * expired; the currency; that the accounts are neither closed nor frozen, save for a release or an expiry; what is left of it;
 * the new expiry; then funds and maximum balance.
 */
export function decideHoldStep(state: LedgerState, command: HoldStepCommand): Decision {
  const hold = state.getHold(command.holdId);
  const wallet = hold && state.getAccount(hold.accountId);
  if (hold === undefined || wallet === undefined)
    return { unrecorded: { reason: "HOLD_NOT_FOUND", holdId: command.holdId } };
  if (command.kind === "HOLD_EXPIRY") return decideExpiry(state, command, hold, wallet);
  const remaining = getRemainingMinor(hold);
  const toId = getDestination(hold, command);
  const amount = getAmount(command, remaining);
  const currencyCode = ("amount" in command ? command.amount?.currencyCode : undefined) ?? hold.currencyCode;
  const movement = toHoldMovement(command.kind, hold.accountId, toId, currencyCode, amount);
  const refuse = (failure: Failure): RecordedDecision => ({ movement, failure });
  if (hold.state === HOLD_STATE.EXPIRED || (hold.state === HOLD_STATE.ACTIVE && hasExpired(hold, state.now)))
    return refuse({ reason: "HOLD_EXPIRED", holdId: hold.id });
  if (hold.state !== HOLD_STATE.ACTIVE)
    return refuse({ reason: "HOLD_ENDED", holdId: hold.id, holdState: STATE_NAMES[hold.state] });
  const to = toId === null ? null : (state.getAccount(toId) ?? null);
  const step = { hold, remaining, wallet, to, movement };
  switch (command.kind) {
    case "HOLD_RELEASE":
      return decideRelease(state, step);
    case "HOLD_INCREASE":
      return decideIncrease(state, step, command);
    case "HOLD_EXTENSION":
      return decideExtension(state, step, command);
    case "HOLD_CAPTURE":
      return decideCapture(state, step, command);
  }
}

function decideRelease(state: LedgerState, step: Step): RecordedDecision {
  const { hold, remaining, wallet, to, movement } = step;
  return applyHoldChange(state, movement, { ...hold, state: HOLD_STATE.RELEASED }, [
    [wallet, { pendingDebits: -remaining }],
    [to, { pendingCredits: -remaining }],
  ]);
}

function decideIncrease(
  state: LedgerState,
  { hold, wallet, to, movement }: Step,
  { amount: { amountMinor, currencyCode } }: IncreaseHoldCommand,
): RecordedDecision {
  const increase = { amountMinor, count: 0n };
  const failure =
    checkAccount(wallet, currencyCode) ??
    (to === null ? undefined : checkAccount(to, currencyCode)) ??
    checkReserve(state, wallet, to, increase);
  if (failure !== undefined) return { movement, failure };
  // The sum of all that was ever held has a range too, with what was captured of it.
  const heldMinor = hold.amountMinor + amountMinor;
  if (!isInt64(heldMinor)) return { movement, failure: { reason: "BALANCE_OVERFLOW", accountId: wallet.id } };
  return applyHoldChange(state, movement, { ...hold, amountMinor: heldMinor }, reserve(state, wallet, to, increase));
}

function decideExtension(
  state: LedgerState,
  { hold, wallet, to, movement }: Step,
  { expiry }: ExtendHoldCommand,
): RecordedDecision {
  const failure =
    checkAccount(wallet, hold.currencyCode) ??
    (to === null ? undefined : checkAccount(to, hold.currencyCode)) ??
    checkExpiry(state.now, expiry, getExpireTime(hold, state.now));
  if (failure !== undefined) return { movement, failure };
  return applyHoldChange(state, movement, { ...hold, ...toHoldExpiry(expiry) }, [[wallet, {}]]);
}

function decideCapture(
  state: LedgerState,
  { hold, remaining, wallet, to, movement }: Step,
  command: CaptureHoldCommand,
): RecordedDecision {
  const refuse = (failure: Failure): RecordedDecision => ({ movement, failure });
  const { amountMinor, currencyCode } = movement;
  if (hold.toAccountId !== null && command.to !== null && movement.creditAccountId !== hold.toAccountId)
    return refuse({ reason: "HOLD_HAS_DESTINATION", holdId: hold.id, walletId: hold.toAccountId });
  if (to === null || to.isWallet !== isToWallet(hold, command))
    return refuse(toDestinationNotFound(command, currencyCode));
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
  const released = isLast ? remaining : amountMinor;
  const isHeldForIt = hold.toAccountId !== null;
  // What is no longer pending is available to the capture itself.
  const before = applyChange(wallet, { pendingDebits: -released });
  const toBefore = isHeldForIt ? applyChange(to, { pendingCredits: -released }) : to;
  const use: Use = { direction: "INCOMING", kind: command.kind, amountMinor, count: 1n };
  // What the wallet of the hold's destination receives was counted when it was held.
  const counts = !isHeldForIt && amountMinor > 0n;
  const refusal =
    checkFunds(before, amountMinor, "DEBIT") ??
    checkFunds(toBefore, amountMinor, "CREDIT") ??
    (counts ? checkUse(state, to, use) : undefined);
  if (refusal !== undefined) return refuse(refusal);
  const capturedMinor = hold.capturedMinor + amountMinor;
  const ended = capturedMinor > 0n ? HOLD_STATE.CAPTURED : HOLD_STATE.RELEASED;
  const after = { ...hold, capturedMinor, state: isLast ? ended : hold.state };
  // A capture of nothing does not concern an account that the hold is not for.
  if (amountMinor === 0n && !isHeldForIt)
    return applyHoldChange(state, { ...movement, creditAccountId: null }, after, [
      [wallet, { pendingDebits: -released }],
    ]);
  return applyHoldChange(state, movement, after, [
    [wallet, { debit: amountMinor, pendingDebits: -released }],
    [counts ? countUse(state, to, use) : to, { debit: -amountMinor, pendingCredits: isHeldForIt ? -released : 0n }],
  ]);
}

/** Decides the expiry of a hold. One that does not apply, or not yet, leaves no trace: no caller requested it. */
function decideExpiry(state: LedgerState, { kind }: ExpireHoldCommand, hold: Hold, wallet: Account): Decision {
  if (hold.state !== HOLD_STATE.ACTIVE || !hasExpired(hold, state.now))
    return { unrecorded: { reason: "HOLD_NOT_FOUND", holdId: hold.id } };
  const remaining = getRemainingMinor(hold);
  const to = hold.toAccountId === null ? null : (state.getAccount(hold.toAccountId) ?? null);
  const movement = toHoldMovement(kind, hold.accountId, hold.toAccountId, hold.currencyCode, remaining);
  return applyHoldChange(state, movement, { ...hold, state: HOLD_STATE.EXPIRED }, [
    [wallet, { pendingDebits: -remaining }],
    [to, { pendingCredits: -remaining }],
  ]);
}

/** Returns the accounts that a step of this hold may touch. */
export function listHoldAccounts(hold: Hold, command: HoldStepCommand): Uuid[] {
  const ids = new Set([hold.accountId]);
  if (hold.toAccountId !== null) ids.add(hold.toAccountId);
  const to = getDestination(hold, command);
  if (to !== null) ids.add(to);
  return [...ids];
}

/** Returns the expiry of a hold; of one that is counted from this batch on, as far as is known. */
function getExpireTime({ expireTime, expiresInMicros }: Hold, now: Micros): Micros {
  return expireTime ?? now + (expiresInMicros ?? 0n);
}

function getAmount(command: HoldStepCommand, remaining: bigint): bigint {
  if (command.kind === "HOLD_EXTENSION") return 0n;
  return ("amount" in command ? command.amount?.amountMinor : undefined) ?? remaining;
}

const STATE_NAMES = { 1: "ACTIVE", 2: "CAPTURED", 3: "RELEASED", 4: "EXPIRED" } as const;

/** Returns the account on the other side of a step; null for none. */
function getDestination(hold: Hold, command: HoldStepCommand): Uuid | null {
  if (command.kind !== "HOLD_CAPTURE") return hold.toAccountId;
  const { to } = command;
  if (to !== null) return "walletId" in to ? to.walletId : systemAccountId(hold.currencyCode, to.systemAccount);
  return hold.toAccountId ?? systemAccountId(hold.currencyCode, SYSTEM_ACCOUNT.CASH);
}

function isToWallet(hold: Hold, { to }: CaptureHoldCommand): boolean {
  return to === null ? hold.toAccountId !== null : "walletId" in to;
}

function toDestinationNotFound({ to }: CaptureHoldCommand, currencyCode: string): Failure {
  return to !== null && "walletId" in to
    ? { reason: "WALLET_NOT_FOUND", walletId: to.walletId }
    : { reason: "ACCOUNT_NOT_FOUND", systemAccount: to?.systemAccount ?? SYSTEM_ACCOUNT.CASH, currencyCode };
}
