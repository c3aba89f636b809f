import type { Precondition as PreconditionMessage } from "../../../generated/grey/transaction/v1/transaction.js";
import type { Money } from "../../../generated/grey/type/v1/money.js";
import { newId, parseId } from "../../base/ids.js";
import type { Amount, CommandFields, Precondition, RequestTerms } from "../../ledger/command/command.js";
import type { CallContext } from "../../rpc/context.js";
import { parseCallerData, type CallerDataFields } from "./caller-data.js";

// The parts of requests that all commands share, and the terms that are stored with a transaction to recognise its request.

/** The fields that all requests for commands share; the contract's annotations have checked them. */
export type CommandRequest = CallerDataFields & { readonly preconditions?: readonly PreconditionMessage[] };

export function parseCommandFields(
  { caller, requestId }: Pick<CallContext, "caller" | "requestId">,
  request: CommandRequest,
): Omit<CommandFields, "requestTerms"> {
  return {
    caller,
    requestId: parseId(requestId),
    transactionId: newId(),
    data: parseCallerData(request),
    preconditions: parsePreconditions(request.preconditions ?? []),
  };
}

const NO_PRECONDITIONS: readonly Precondition[] = [];

function parsePreconditions(messages: readonly PreconditionMessage[]): readonly Precondition[] {
  if (messages.length === 0) return NO_PRECONDITIONS;
  return messages.map(({ walletId, expectedVersion, minBalanceAfter, maxBalanceAfter }) => ({
    walletId: parseId(walletId),
    expectedVersion,
    minBalanceAfter,
    maxBalanceAfter,
  }));
}

export function parseAmount({ currencyCode, minorUnits }: Money): Amount {
  return { currencyCode, amountMinor: minorUnits };
}

/** Returns an amount as terms, by the contract's names. */
export function amountTerms({ currencyCode, minorUnits }: Money, field = "amount"): RequestTerms {
  return { [`${field}.currency_code`]: currencyCode, [`${field}.minor_units`]: minorUnits.toString() };
}

/** Returns the terms of a request to move what is available up to an amount: its transaction shows what was moved. */
export function upToTerms(amountMinor: bigint): RequestTerms {
  return { amount_mode: "UP_TO", "amount.minor_units": amountMinor.toString() };
}

/** Returns preconditions as one term. */
export function preconditionTerms(preconditions: readonly Precondition[]): RequestTerms {
  if (preconditions.length === 0) return {};
  const text = preconditions.map((one) =>
    [one.walletId, one.expectedVersion, one.minBalanceAfter, one.maxBalanceAfter].map((part) => part ?? "").join(" "),
  );
  return { preconditions: text.join(", ") };
}
