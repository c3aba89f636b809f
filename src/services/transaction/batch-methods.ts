import { TransactionState } from "../../../generated/grey/transaction/v1/transaction.js";
import { BatchMode, BatchTransferResponse } from "../../../generated/grey/transaction/v1/batch.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import type { TransferRequest } from "../../../generated/grey/transaction/v1/movement.js";
import type { Balance } from "../../../generated/grey/wallet/v1/balance.js";
import { fail, FailureError, type Failure, type FailureDetails, type FieldViolation } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { CurrencyUnit } from "../../base/money.js";
import { MESSAGE_BYTES_MAX } from "../../base/room.js";
import type { Outcome } from "../../ledger/post/outcome.js";
import { findCurrencyCode, type FindCurrency } from "../../rpc/amounts.js";
import type { Methods } from "../../rpc/methods.js";
import { toStatus, withoutMetadata } from "../../rpc/status.js";
import { toBalancesAfter } from "../shared/messages.js";
import { parseTransfer } from "./parse-movements.js";
import { submitUnit, toFailureDetails, type PostingParts } from "./post.js";

/** Creates the method of grey.transaction.v1.TransactionService that posts many transfers: BatchTransfer. */
export function createBatchMethods(
  posting: PostingParts,
  findCurrency: FindCurrency,
): Pick<Methods<typeof TransactionServiceService>, "batchTransfer"> {
  return {
    batchTransfer: async (request, context) => {
      const { transfers } = request;
      assertDistinct(transfers);
      const commands = transfers.map((transfer) =>
        parseTransfer(transfer, { ...context, requestId: transfer.requestId }),
      );
      const mode = request.mode === BatchMode.ATOMIC ? "ATOMIC" : "INDEPENDENT";
      const outcomes = await submitUnit(
        posting,
        context,
        { commands, mode },
        request.dryRun,
        (index) => `transfers[${index}].effective_time`,
      );
      return toBatchResponse(outcomes, findCurrency);
    },
  };
}

/** Refuses transfers that share a request_id or set their own dry_run. Fails: INVALID_REQUEST. */
function assertDistinct(transfers: readonly TransferRequest[]): void {
  const seen = new Map<string, number>();
  const violations: FieldViolation[] = [];
  transfers.forEach(({ requestId }, index) => {
    const key = parseId(requestId);
    const first = seen.get(key);
    if (first === undefined) seen.set(key, index);
    else
      violations.push({
        field: `transfers[${index}].request_id`,
        rule: `must differ from that of transfers[${first}]`,
      });
  });
  transfers.forEach(({ dryRun }, index) => {
    if (dryRun)
      violations.push({
        field: `transfers[${index}].dry_run`,
        rule: "must be false: the batch has its own",
      });
  });
  if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
}

/** The most bytes of a result and its two balances. */
const BATCH_ITEM_BYTES_MAX = 1_024;

/** Returns the response to a batch, without the metadata of its errors where it would exceed what clients accept. */
async function toBatchResponse(
  outcomes: readonly Outcome[],
  findCurrency: FindCurrency,
): Promise<BatchTransferResponse> {
  const answer = await toBatchResults(outcomes, findCurrency);
  const fits =
    outcomes.length * BATCH_ITEM_BYTES_MAX <= MESSAGE_BYTES_MAX ||
    BatchTransferResponse.encode(answer).finish().length <= MESSAGE_BYTES_MAX;
  if (fits) return answer;
  return {
    ...answer,
    results: answer.results.map((result) => ({ ...result, error: result.error && withoutMetadata(result.error) })),
  };
}

async function toBatchResults(
  outcomes: readonly Outcome[],
  findCurrency: FindCurrency,
): Promise<BatchTransferResponse> {
  const balances = new Map<Uuid, Balance>();
  const currencies = await findFailureCurrencies(outcomes, findCurrency);
  const results = outcomes.map((outcome) => {
    const error = (failure: Failure, details: FailureDetails) => {
      const currency = currencies.get(findCurrencyCode(failure));
      // No error in a result is transient, so that it has no retry delay; the ids are those of the whole call.
      return toStatus(new FailureError(failure, { ...details, currency }), undefined, 0);
    };
    if ("failure" in outcome) return { ...NO_TRANSACTION, error: error(outcome.failure, {}) };
    const { transaction, replayed } = outcome;
    const { id, failure, journalIndex } = transaction;
    for (const balance of toBalancesAfter(transaction)) balances.set(balance.walletId, balance);
    return {
      transactionId: id,
      state: failure === null ? TransactionState.POSTED : TransactionState.REJECTED,
      journalIndex,
      error: failure === null ? undefined : error(failure, toFailureDetails(outcome)),
      replayed,
    };
  });
  return { results, balances: [...balances.values()] };
}

/** Finds the currencies of the amounts in the refusals among the outcomes. */
async function findFailureCurrencies(outcomes: readonly Outcome[], findCurrency: FindCurrency) {
  const codes = new Set<string>();
  for (const outcome of outcomes) {
    const failure = "failure" in outcome ? outcome.failure : outcome.transaction.failure;
    const code = failure === null ? undefined : findCurrencyCode(failure);
    if (code !== undefined) codes.add(code);
  }
  return new Map<string | undefined, CurrencyUnit | undefined>(
    await Promise.all([...codes].map(async (code) => [code, await findCurrency(code)] as const)),
  );
}

const NO_TRANSACTION = { transactionId: "", state: TransactionState.UNSPECIFIED, journalIndex: 0n, replayed: false };
