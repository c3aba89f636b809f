import type { Failure } from "../../base/failure.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import { decideCompound } from "./legs.js";
import type { LedgerState } from "../account/books.js";
import { createDraft } from "./draft.js";
import { decideHold, decideHoldStep } from "./hold-rules.js";
import { decideReverse } from "./reversal.js";
import { availableMinor, decideMovement, incomingMinor, type Decision } from "./movement.js";
import { isCompound, isHoldStep, isReverse, type Command, type Precondition } from "../transaction/transaction.js";

/**
 * Decides one command against the books and, when it is posted, changes them. A refusal changes nothing. Preconditions
 * are asked last: a command that the rules refuse is refused for their reason.
 */
export function decide(state: LedgerState, command: Command): Decision {
  if (command.preconditions.length === 0) return decideByKind(state, command);
  const draft = createDraft(state);
  const decision = decideByKind(draft, command);
  if (!("entries" in decision)) return decision;
  for (const precondition of command.preconditions) {
    const failure = checkPrecondition(state, draft, precondition);
    if (failure !== undefined) return { movement: decision.movement, failure };
  }
  draft.keep();
  return decision;
}

function decideByKind(state: LedgerState, command: Command): Decision {
  if (isHoldStep(command)) return decideHoldStep(state, command);
  if (isReverse(command)) return decideReverse(state, command);
  if (isCompound(command)) return decideCompound(state, command);
  return command.kind === TRANSACTION_KIND.HOLD ? decideHold(state, command) : decideMovement(state, command);
}

function checkPrecondition(before: LedgerState, after: LedgerState, precondition: Precondition): Failure | undefined {
  const { walletId, expectedVersion, minBalanceAfter, maxBalanceAfter } = precondition;
  const account = after.getAccount(walletId);
  const version = before.getAccount(walletId)?.sequence;
  if (account === undefined || version === undefined || !account.isWallet)
    return { reason: "WALLET_NOT_FOUND", walletId };
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
  const available = availableMinor(account);
  if (minBalanceAfter !== undefined && available < minBalanceAfter)
    return refuse("min_balance_after", minBalanceAfter, available, account.currencyCode);
  const most = account.balanceMinor + incomingMinor(account);
  if (maxBalanceAfter !== undefined && most > maxBalanceAfter)
    return refuse("max_balance_after", maxBalanceAfter, most, account.currencyCode);
  return undefined;
}
