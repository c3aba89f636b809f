import { assertPresent } from "../../base/assert.js";
import type { Failure } from "../../base/failure.js";
import { TRANSACTION_KIND, type TransactionKind } from "../../base/codes.js";
import type { LedgerState, Original } from "../account/books.js";
import { decideLegs } from "./legs.js";
import { REVERSALS_MAX } from "../transaction/reversed.js";
import { decideBetween, type Decision } from "./movement.js";
import { shareOut } from "./share.js";
import type { Leg, Movement, ReverseCommand } from "../transaction/transaction.js";

/** The kinds that move money, and are no reversals themselves. */
const REVERSIBLE: readonly TransactionKind[] = [
  TRANSACTION_KIND.OPENING,
  TRANSACTION_KIND.DEPOSIT,
  TRANSACTION_KIND.WITHDRAWAL,
  TRANSACTION_KIND.TRANSFER,
  TRANSACTION_KIND.HOLD_CAPTURE,
  TRANSACTION_KIND.COMPOUND,
  TRANSACTION_KIND.EXCHANGE,
];

/**
 * Decides a reversal against the books and, when it is posted, changes them: what the original debited is credited, and
 * the other way round, under the same limits as any movement. Of an original with many legs, a part is reversed in
 * proportion.
 *
 * When several rules refuse, the first of this order answers: that there is such a transaction; that it was posted and moved
 * money; what is not reversed yet; in how many parts it was; then the rules of a movement.
 */
export function decideReverse(state: LedgerState, command: ReverseCommand): Decision {
  const original = state.getOriginal(command.originalId);
  if (original === undefined) return { unkept: { reason: "TRANSACTION_NOT_FOUND", transactionId: command.originalId } };
  const { transaction, reversedMinor, reversalCount } = original;
  const remaining = transaction.amountMinor - reversedMinor;
  const asked = command.amount?.amountMinor ?? (remaining > 0n ? remaining : transaction.amountMinor);
  const currencyCode = command.amount?.currencyCode ?? transaction.currencyCode;
  const { debitAccountId, creditAccountId } = transaction;
  const movement: Movement = {
    kind: command.kind,
    requestId: command.requestId,
    debitAccountId: creditAccountId ?? debitAccountId,
    creditAccountId: debitAccountId,
    currencyCode,
    amountMinor: asked,
    description: command.description,
    metadata: command.metadata,
    externalReference: command.externalReference,
    effectiveTime: command.atEffectiveTimeOfOriginal ? (transaction.effectiveTime ?? transaction.createTime) : null,
    terms: command.terms,
    legs: null,
    detail: null,
  };
  const refuse = (failure: Failure): Decision => ({ movement, failure });
  // A final capture may have captured nothing.
  const hasMoved = transaction.failure === null && creditAccountId !== null && transaction.amountMinor > 0n;
  if (!hasMoved || !REVERSIBLE.includes(transaction.kind))
    return refuse({ reason: "NOT_REVERSIBLE", originalId: transaction.id });
  if (currencyCode === transaction.currencyCode && asked > remaining) {
    return refuse({
      reason: "REVERSAL_EXCEEDED",
      originalId: transaction.id,
      currencyCode,
      remainingMinorUnits: remaining,
      requiredMinorUnits: asked,
    });
  }
  // All that is left can always go back.
  if (reversalCount >= REVERSALS_MAX && asked < remaining)
    return refuse({ reason: "TOO_MANY_REVERSALS", originalId: transaction.id, max: `${REVERSALS_MAX}` });
  if (transaction.legs !== null) return decideReverseLegs(state, movement, original, transaction.legs);
  const debit = assertPresent(state.getAccount(creditAccountId), "the account to debit");
  const credit = assertPresent(state.getAccount(debitAccountId), "the account to credit");
  const decision = decideBetween(state, movement, debit, credit);
  if ("entries" in decision) state.setOriginal(addReversal(original, asked, []));
  return decision;
}

/** The original once so much of it, and of each of its legs, is reversed too. */
function addReversal(original: Original, amountMinor: bigint, parts: readonly bigint[]): Original {
  return {
    transaction: original.transaction,
    reversedMinor: original.reversedMinor + amountMinor,
    reversalCount: original.reversalCount + 1,
    reversedLegs: original.reversedLegs.map((reversed, index) => reversed + (parts[index] ?? 0n)),
  };
}

/** Decides the reversal of a part, or of all that is left, of a transaction with many legs. */
function decideReverseLegs(state: LedgerState, movement: Movement, original: Original, legs: readonly Leg[]): Decision {
  const { transaction, reversedMinor, reversedLegs } = original;
  const { currencyCode, amountMinor } = movement;
  if (currencyCode !== transaction.currencyCode) {
    const failure: Failure = {
      reason: "CURRENCY_MISMATCH",
      // The currency is that of the first leg.
      walletId: legs[0]?.accountId ?? transaction.debitAccountId,
      walletCurrencyCode: transaction.currencyCode,
      amountCurrencyCode: currencyCode,
    };
    return { movement, failure };
  }
  const parts = shareOut(legs, reversedLegs, { before: reversedMinor, by: amountMinor, of: transaction.amountMinor });
  const mirrored = legs.flatMap((leg, index) => {
    const part = parts[index] ?? 0n;
    return part === 0n ? [] : [{ ...leg, amountMinor: leg.amountMinor > 0n ? -part : part }];
  });
  const decision = decideLegs(state, { ...movement, legs: mirrored }, mirrored);
  if ("entries" in decision) {
    state.setOriginal(addReversal(original, amountMinor, parts));
  }
  return decision;
}
