import type { ReverseRequest } from "../../../generated/grey/transaction/v1/reversal.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { assertPresent } from "../../base/assert.js";
import { parseId } from "../../base/ids.js";
import type { MovementCommand, ReverseCommand } from "../../ledger/command/command.js";
import type { FindCurrency } from "../../rpc/amounts.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import type { PageTokens } from "../shared/page-tokens.js";
import type { WatchOptions } from "../shared/watch-options.js";
import { createBatchMethods } from "./batch-methods.js";
import { createCompoundMethods } from "./compound-methods.js";
import { createExchangeMethods } from "./exchange-methods.js";
import { createHoldMethods } from "./hold-methods.js";
import { createMetadataMethods } from "./metadata-methods.js";
import { parseDeposit, parseTransfer, parseWithdraw } from "./parse-movements.js";
import { postOne, type PostingParts } from "./post.js";
import { createQueryMethods } from "./query-methods.js";
import { amountTerms, parseAmount, parseCommandFields, preconditionTerms } from "./request-terms.js";
import { createTransactionWatch } from "./transaction-watch.js";

/** Creates grey.transaction.v1.TransactionService. Its own methods are Deposit, Withdraw, Transfer, StreamTransfers and Reverse. */
export function createTransactionService(
  posting: PostingParts,
  tokens: PageTokens,
  watching: WatchOptions,
  findCurrency: FindCurrency,
): Methods<typeof TransactionServiceService> {
  const { database } = posting;
  const post = async (
    { dryRun }: { readonly dryRun: boolean },
    context: CallContext,
    command: MovementCommand | ReverseCommand,
  ) => (await postOne(posting, context, command, dryRun)).answer;
  return {
    deposit: (request, context) => post(request, context, parseDeposit(request, context)),
    withdraw: (request, context) => post(request, context, parseWithdraw(request, context)),
    transfer: (request, context) => post(request, context, parseTransfer(request, context)),

    streamTransfers: {
      readRequestId: ({ transfer }) => parseId(transfer?.requestId ?? ""),
      answer: async ({ correlation, transfer }, context) => {
        const request = assertPresent(transfer, "a transfer");
        const value = await post(request, context, parseTransfer(request, context));
        return { correlation, outcome: { $case: "posted", value } };
      },
      refuse: ({ correlation }, value) => ({ correlation, outcome: { $case: "error", value } }),
    },

    reverse: (request, context) => post(request, context, parseReverse(request, context)),

    ...createBatchMethods(posting, findCurrency),
    ...createCompoundMethods(posting),
    ...createExchangeMethods(posting, tokens),
    ...createHoldMethods(posting, tokens),
    ...createMetadataMethods(database, tokens),
    ...createQueryMethods(database, tokens),
    ...createTransactionWatch(database, watching),
  };
}

function parseReverse(request: ReverseRequest, context: CallContext): ReverseCommand {
  const { amount, atEffectiveTimeOfOriginal } = request;
  const fields = parseCommandFields(context, request);
  return {
    ...fields,
    kind: "REVERSAL",
    originalId: parseId(request.transactionId),
    amount: amount === undefined ? null : parseAmount(amount),
    atEffectiveTimeOfOriginal,
    requestTerms: {
      ...(amount !== undefined && amountTerms(amount)),
      ...(atEffectiveTimeOfOriginal && { at_effective_time_of_original: "true" }),
      ...preconditionTerms(fields.preconditions),
    },
  };
}
