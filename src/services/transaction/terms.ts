import type { Precondition as PreconditionMessage } from "../../../generated/grey/transaction/v1/transaction.js";
import type { Money } from "../../../generated/grey/type/v1/money.js";
import { parseId } from "../../base/ids.js";
import type { Precondition, Terms } from "../../ledger/transaction/transaction.js";

const NONE: readonly Precondition[] = [];

/** What the request wants to hold; the contract's annotations have checked it. */
export function parsePreconditions(messages: readonly PreconditionMessage[]): readonly Precondition[] {
  if (messages.length === 0) return NONE;
  return messages.map(({ walletId, expectedVersion, minBalanceAfter, maxBalanceAfter }) => ({
    walletId: parseId(walletId),
    expectedVersion,
    minBalanceAfter,
    maxBalanceAfter,
  }));
}

/** An amount as terms, by the names of the contract. */
export function amountTerms({ currencyCode, minorUnits }: Money): Terms {
  return { "amount.currency_code": currencyCode, "amount.minor_units": minorUnits.toString() };
}

/** Preconditions as one term, so that a request with others is told apart. */
export function preconditionTerms(preconditions: readonly Precondition[]): Terms {
  if (preconditions.length === 0) return {};
  const text = preconditions.map((one) =>
    [one.walletId, one.expectedVersion, one.minBalanceAfter, one.maxBalanceAfter].map((part) => part ?? "").join(" "),
  );
  return { preconditions: text.join(", ") };
}
