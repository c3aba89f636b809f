import type { Failure } from "../base/failure.js";
import { TRANSACTION_KIND, type TransactionKind } from "../entities/transaction.js";
import type { Books } from "./books.js";
import { decideBetween, type Decision } from "./rules.js";
import type { Movement, ReverseCommand } from "./transaction.js";

/** The kinds that move money, and are no reversals themselves. */
const REVERSIBLE: readonly TransactionKind[] = [
  TRANSACTION_KIND.OPENING,
  TRANSACTION_KIND.DEPOSIT,
  TRANSACTION_KIND.WITHDRAWAL,
  TRANSACTION_KIND.TRANSFER,
  TRANSACTION_KIND.HOLD_CAPTURE,
];

/**
 * Decides a reversal against the books and, when it is posted, changes them: what the original debited is credited, and
 * the other way round, under the same limits as any movement.
 *
 * When several rules refuse, the first of this order answers: that there is such a transaction; that it was posted and moved
 * money; the currency; what is not reversed yet; then the rules of a movement.
 */
export function decideReverse(books: Books, command: ReverseCommand): Decision {
  const original = books.original(command.originalId);
  if (original === undefined) return { unkept: { reason: "TRANSACTION_NOT_FOUND", transactionId: command.originalId } };
  const { transaction, reversedMinor } = original;
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
    effectiveTime: command.atEffectiveTimeOfOriginal ? (transaction.effectiveTime ?? transaction.createTime) : null,
    terms: command.terms,
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
  const decision = decideBetween(books, movement, creditAccountId, debitAccountId);
  if ("entries" in decision) books.setReversed(transaction.id, reversedMinor + asked);
  return decision;
}
