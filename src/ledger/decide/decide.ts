import type { Failure } from "../../base/failure.js";
import { TRANSACTION_KIND } from "../../entities/transaction.js";
import { decideCompound } from "./legs.js";
import type { Books } from "../account/books.js";
import { draftOf } from "./draft.js";
import { decideHold, decideHoldStep } from "./hold-rules.js";
import { decideReverse } from "./reversal.js";
import { availableMinor, decideMovement, incomingMinor, type Decision } from "./movement.js";
import { isCompound, isHoldStep, isReverse, type Command, type Precondition } from "../transaction/transaction.js";

/**
 * Decides one command against the books and, when it is posted, changes them. A refusal changes nothing. Preconditions
 * are asked last: a command that the rules refuse is refused for their reason.
 */
export function decide(books: Books, command: Command): Decision {
  if (command.preconditions.length === 0) return decideByKind(books, command);
  const draft = draftOf(books);
  const decision = decideByKind(draft, command);
  if (!("entries" in decision)) return decision;
  for (const precondition of command.preconditions) {
    const failure = preconditionRefuses(books, draft, precondition);
    if (failure !== undefined) return { movement: decision.movement, failure };
  }
  draft.keep();
  return decision;
}

function decideByKind(books: Books, command: Command): Decision {
  if (isHoldStep(command)) return decideHoldStep(books, command);
  if (isReverse(command)) return decideReverse(books, command);
  if (isCompound(command)) return decideCompound(books, command);
  return command.kind === TRANSACTION_KIND.HOLD ? decideHold(books, command) : decideMovement(books, command);
}

function preconditionRefuses(before: Books, after: Books, precondition: Precondition): Failure | undefined {
  const { walletId, expectedVersion, minBalanceAfter, maxBalanceAfter } = precondition;
  const book = after.get(walletId);
  const version = before.get(walletId)?.sequence;
  if (book === undefined || version === undefined || !book.isWallet) return { reason: "WALLET_NOT_FOUND", walletId };
  const refuse = (field: string, expected: bigint, actual: bigint, currencyCode?: string): Failure => ({
    reason: "PRECONDITION_FAILED",
    walletId,
    precondition: field,
    ...(currencyCode !== undefined && { currencyCode }),
    expected: expected.toString(),
    actual: actual.toString(),
  });
  if (expectedVersion !== undefined && version !== expectedVersion)
    return refuse("expected_version", expectedVersion, version);
  const available = availableMinor(book);
  if (minBalanceAfter !== undefined && available < minBalanceAfter)
    return refuse("min_balance_after", minBalanceAfter, available, book.currencyCode);
  const most = book.balanceMinor + incomingMinor(book);
  if (maxBalanceAfter !== undefined && most > maxBalanceAfter)
    return refuse("max_balance_after", maxBalanceAfter, most, book.currencyCode);
  return undefined;
}
