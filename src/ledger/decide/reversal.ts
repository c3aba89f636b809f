import { assertPresent } from "../../base/assert.js";
import type { Failure } from "../../base/failure.js";
import type { Leg, ReverseCommand } from "../command/command.js";
import { KINDS } from "../command/kinds.js";
import type { Decision, Movement } from "./decision.js";
import { decideLegs } from "./legs.js";
import { moveBetween } from "./movement.js";
import { shareOut } from "./share.js";
import type { LedgerState, Original } from "./state.js";

/** A transaction is reversed in so many parts, and then only in full: each reversal looks at those before it. */
export const REVERSALS_MAX = 1_000;

/**
 * Decides a reversal and, when it is posted, changes the accounts: it debits what the original credited and credits what the
 * original debited, under the same limits as any movement. Of an original with many legs, a part is reversed in proportion.
 *
 * The first broken rule of this order is the failure: that the original exists; that it was posted and moved money;
 * what is not reversed yet; the number of its reversals; then the rules of a movement.
 */
export function decideReversal(state: LedgerState, command: ReverseCommand): Decision {
  const original = state.getOriginal(command.originalId);
  if (original === undefined)
    return { unrecorded: { reason: "TRANSACTION_NOT_FOUND", transactionId: command.originalId } };
  const { reversedMinor, reversalCount } = original;
  const { kind, debitAccountId, creditAccountId, amountMinor, effectiveTime, legs } = original.movement;
  const remaining = amountMinor - reversedMinor;
  const required = command.amount?.amountMinor ?? (remaining > 0n ? remaining : amountMinor);
  const currencyCode = command.amount?.currencyCode ?? original.movement.currencyCode;
  const movement: Movement = {
    kind: command.kind,
    debitAccountId: creditAccountId ?? debitAccountId,
    creditAccountId: debitAccountId,
    currencyCode,
    amountMinor: required,
    effectiveTime: command.atEffectiveTimeOfOriginal ? (effectiveTime ?? original.createTime) : null,
    legs: null,
    exchange: null,
  };
  const refuse = (failure: Failure): Decision => ({ movement, failure });
  // A final capture may have captured nothing.
  const hasMoved = original.isPosted && creditAccountId !== null && amountMinor > 0n;
  if (!hasMoved || !KINDS[kind].isReversible) return refuse({ reason: "NOT_REVERSIBLE", originalId: original.id });
  if (currencyCode === original.movement.currencyCode && required > remaining) {
    return refuse({
      reason: "REVERSAL_EXCEEDED",
      originalId: original.id,
      currencyCode,
      remainingMinorUnits: remaining,
      requiredMinorUnits: required,
    });
  }
  // All that is left can always be reversed.
  if (reversalCount >= REVERSALS_MAX && required < remaining)
    return refuse({ reason: "TOO_MANY_REVERSALS", originalId: original.id, max: `${REVERSALS_MAX}` });
  if (legs !== null) return reverseLegs(state, movement, original, legs);
  const debit = assertPresent(state.getAccount(creditAccountId), "the account to debit");
  const credit = assertPresent(state.getAccount(debitAccountId), "the account to credit");
  const decision = moveBetween(state, movement, debit, credit);
  if ("entries" in decision) state.setOriginal(addReversal(original, required, []));
  return decision;
}

/** Returns the original with one more reversal, of this amount and of these parts of its legs. */
function addReversal(original: Original, amountMinor: bigint, parts: readonly bigint[]): Original {
  return {
    ...original,
    reversedMinor: original.reversedMinor + amountMinor,
    reversalCount: original.reversalCount + 1,
    reversedLegs: original.reversedLegs.map((reversed, index) => reversed + (parts[index] ?? 0n)),
  };
}

/** Decides the reversal of a part, or of all that is left, of a transaction with many legs. */
function reverseLegs(state: LedgerState, movement: Movement, original: Original, legs: readonly Leg[]): Decision {
  const { reversedMinor, reversedLegs } = original;
  const { currencyCode, amountMinor } = movement;
  if (currencyCode !== original.movement.currencyCode) {
    const failure: Failure = {
      reason: "CURRENCY_MISMATCH",
      // The currency is that of the first leg.
      walletId: legs[0]?.accountId ?? original.movement.debitAccountId,
      walletCurrencyCode: original.movement.currencyCode,
      amountCurrencyCode: currencyCode,
    };
    return { movement, failure };
  }
  const parts = shareOut(legs, reversedLegs, {
    before: reversedMinor,
    by: amountMinor,
    of: original.movement.amountMinor,
  });
  const mirrored = legs.flatMap((leg, index) => {
    const part = parts[index] ?? 0n;
    return part === 0n ? [] : [{ ...leg, amountMinor: leg.amountMinor > 0n ? -part : part }];
  });
  const decision = decideLegs(state, { ...movement, legs: mirrored }, mirrored);
  if ("entries" in decision) state.setOriginal(addReversal(original, amountMinor, parts));
  return decision;
}
