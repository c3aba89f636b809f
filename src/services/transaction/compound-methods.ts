import { EntrySide } from "../../../generated/grey/transaction/v1/transaction.js";
import type { Leg as LegMessage, PostTransactionRequest } from "../../../generated/grey/transaction/v1/compound.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { assertPresent } from "../../base/assert.js";
import { invalid } from "../../base/failure.js";
import { parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { AMOUNT_MAX } from "../../base/money.js";
import { microsDown } from "../../base/time.js";
import type { CompoundCommand, Leg } from "../../ledger/command/command.js";
import { sumByCurrency } from "../../ledger/decide/double-entry.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { postOne, type PostingParts } from "./post.js";
import { parseCommandFields, preconditionTerms } from "./request-terms.js";

/** Creates the method of grey.transaction.v1.TransactionService that posts transactions of many legs: PostTransaction. */
export function createCompoundMethods(
  posting: PostingParts,
): Pick<Methods<typeof TransactionServiceService>, "postTransaction"> {
  return {
    postTransaction: async (request, context) =>
      (await postOne(posting, context, parsePostTransaction(request, context), request.dryRun)).answer,
  };
}

function parsePostTransaction(request: PostTransactionRequest, context: CallContext): CompoundCommand {
  const system = new Map<Uuid, string>();
  const legs = request.legs.map((leg) => parseLeg(leg, system));
  checkBalance(legs);
  const fields = parseCommandFields(context, request);
  return {
    ...fields,
    kind: "COMPOUND",
    legs,
    system,
    effectiveTime: request.effectiveTime === undefined ? null : microsDown(request.effectiveTime),
    requestTerms: preconditionTerms(fields.preconditions),
  };
}

function parseLeg({ account, side, amount }: LegMessage, system: Map<Uuid, string>): Leg {
  const { currencyCode, minorUnits } = assertPresent(amount, "amount");
  const { $case, value } = assertPresent(account, "account");
  const accountId = $case === "walletId" ? parseId(value) : systemAccountId(currencyCode, value);
  if ($case === "systemAccount") system.set(accountId, value);
  return { accountId, currencyCode, amountMinor: side === EntrySide.DEBIT ? minorUnits : -minorUnits };
}

/** Refuses legs that do not sum to zero in each currency, or whose debits exceed int64. Fails: INVALID_REQUEST. */
function checkBalance(legs: readonly Leg[]): void {
  for (const { currencyCode, debits, credits } of sumByCurrency(legs)) {
    if (debits !== credits)
      invalid("legs", `must sum to zero in ${currencyCode}: debits are ${debits}, credits ${credits} minor units`);
    if (debits > AMOUNT_MAX) invalid("legs", `must sum to no more than int64 holds in ${currencyCode}`);
  }
}
