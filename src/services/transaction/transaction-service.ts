import { Transaction, TransactionState } from "../../../generated/grey/transaction/v1/transaction.js";
import { BatchMode, BatchTransferResponse } from "../../../generated/grey/transaction/v1/batch.js";
import type { ListTransactionsRequest, MetadataFilter } from "../../../generated/grey/transaction/v1/query.js";
import type { ReverseRequest } from "../../../generated/grey/transaction/v1/reversal.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import type { TransferRequest } from "../../../generated/grey/transaction/v1/movement.js";
import type { Balance } from "../../../generated/grey/wallet/v1/balance.js";
import type { EntityManager } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail, FailureError, type Failure, type FailureDetails, type FieldViolation } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { CurrencyUnit } from "../../base/money.js";
import { createRoom, MESSAGE_BYTES_MAX } from "../../base/room.js";
import { microsUp } from "../../base/time.js";
import type { Database, Queryable } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { kindFromCode, type TransactionState as StoredState } from "../../base/codes.js";
import { WalletEntity } from "../../entities/wallet.js";
import { findAnswers, findTransactions } from "../../ledger/transaction/store.js";
import { findReversals } from "../../ledger/transaction/reversals.js";
import { REVERSALS_MAX } from "../../ledger/decide/reversal.js";
import type { MetadataCondition, TransactionFilter } from "../../ledger/transaction/filter.js";
import { listTransactions } from "../../ledger/transaction/list.js";
import { attachCurrentMetadata } from "../../ledger/transaction/metadata.js";
import type { Engine } from "../../ledger/post/engine.js";
import type { Outcome } from "../../ledger/post/outcome.js";
import type { LedgerTransaction } from "../../ledger/transaction/transaction.js";
import type { MovementCommand, ReverseCommand } from "../../ledger/command/command.js";
import type { CallContext } from "../../rpc/context.js";
import { findCurrencyCode, type FindCurrency } from "../../rpc/amounts.js";
import { toStatus, withoutMetadata } from "../../rpc/status.js";
import type { Methods } from "../../rpc/methods.js";
import { getPageSize, type PageTokens } from "../shared/paging.js";
import { createCompoundMethods } from "./compound-methods.js";
import { createExchangeMethods } from "./exchange-methods.js";
import { createHoldMethods } from "./hold-methods.js";
import { createMetadataMethods } from "./metadata-methods.js";
import type { EffectiveWindow } from "./effective-window.js";
import { amountTerms, parseAmount, parseCommandFields, preconditionTerms } from "./request-terms.js";
import { parseDeposit, parseTransfer, parseWithdraw } from "./movements.js";
import { toFailureDetails, postOne, postUnit } from "./post.js";
import { toBalancesAfter, toTransactionMessage } from "../shared/messages.js";
import { findWalletIds } from "../user/users.js";
import { createTransactionWatch, type WatchOptions } from "../shared/watch-methods.js";

/** grey.transaction.v1.TransactionService. */
export function createTransactionService(
  database: Database,
  engine: Engine,
  tokens: PageTokens,
  window: EffectiveWindow,
  watching: WatchOptions,
  findCurrency: FindCurrency,
): Methods<typeof TransactionServiceService> {
  const posting = { engine, database, window };
  const post = async (
    { dryRun }: { readonly dryRun: boolean },
    context: CallContext,
    command: MovementCommand | ReverseCommand,
  ) => (await postOne(posting, context, command, dryRun)).answer;
  return {
    deposit: (request, context) => post(request, context, parseDeposit(request, context)),
    withdraw: (request, context) => post(request, context, parseWithdraw(request, context)),
    transfer: (request, context) => post(request, context, parseTransfer(request, context)),

    batchTransfer: async (request, context) => {
      const { transfers } = request;
      assertDistinct(transfers);
      const commands = transfers.map((transfer) =>
        parseTransfer(transfer, { ...context, requestId: transfer.requestId }),
      );
      const mode = request.mode === BatchMode.ATOMIC ? "ATOMIC" : "INDEPENDENT";
      const outcomes = await postUnit(
        posting,
        context,
        { commands, mode },
        request.dryRun,
        (index) => `transfers[${index}].effective_time`,
      );
      return toBatchResponse(outcomes, findCurrency);
    },

    streamTransfers: {
      readRequestId: ({ transfer }) => parseId(transfer?.requestId ?? ""),
      answer: async ({ correlation, transfer }, context) => {
        const request = assertPresent(transfer, "a transfer");
        const value = await post(request, context, parseTransfer(request, context));
        return { correlation, outcome: { $case: "posted", value } };
      },
      refuse: ({ correlation }, value) => ({ correlation, outcome: { $case: "error", value } }),
    },

    ...createHoldMethods(posting, tokens),
    ...createTransactionWatch(database, watching),

    ...createCompoundMethods(posting),
    ...createExchangeMethods(posting, tokens),

    ...createMetadataMethods(database, tokens),

    reverse: (request, context) => post(request, context, parseReverse(request, context)),

    getTransaction: async ({ by }, context) => {
      const id = parseId(assertPresent(by, "what names the transaction").value);
      if (by?.$case === "requestId") {
        const key = { caller: context.caller, requestId: id };
        return readInSession(database, context, async ({ client }) => {
          const [found] = (await findAnswers(client, [key])).values();
          return {
            transaction: await toCurrentMessage(
              client,
              found ?? fail({ reason: "TRANSACTION_NOT_FOUND", requestId: id }),
            ),
          };
        });
      }
      return readInSession(database, context, async ({ client }) => {
        const found = (await findTransactions(client, [id])).get(id);
        return {
          transaction: await toCurrentMessage(
            client,
            found ?? fail({ reason: "TRANSACTION_NOT_FOUND", transactionId: id }),
          ),
        };
      });
    },

    listTransactions: async (request, context) => {
      const scope = [
        "ListTransactions",
        context.caller,
        { ...request, pageSize: 0, pageToken: "", minJournalIndex: undefined },
      ];
      const cursor = tokens.open(scope, request.pageToken);
      return readInSession(database, context, async ({ manager, client }) => {
        const filter = await parseFilter(manager, request);
        const below = cursor === undefined ? undefined : BigInt(cursor);
        const page = await listTransactions(client, filter, below, getPageSize(request));
        const reversed = await findReversals(
          client,
          page.transactions.map(({ id }) => id),
          LISTED_REVERSALS_MAX,
        );
        const found = page.transactions.map((one) => toTransactionMessage(one, reversed.get(one.id)));
        const transactions = [...createRoom(Transaction).take(found)];
        const nextBelow = transactions.length < found.length ? transactions.at(-1)?.journalIndex : page.nextBelow;
        return {
          transactions,
          nextPageToken: nextBelow === undefined ? "" : tokens.seal(scope, nextBelow.toString()),
        };
      });
    },
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

/** Returns the transaction as it is now: with its reversals and its current metadata. */
async function toCurrentMessage(client: Queryable, transaction: LedgerTransaction): Promise<Transaction> {
  const reversed = await findReversals(client, [transaction.id], REVERSALS_MAX + 1);
  const [current] = await attachCurrentMetadata(client, [transaction]);
  return toTransactionMessage(assertPresent(current, "the transaction"), reversed.get(transaction.id));
}

/** The reversals of each transaction that a page names, the latest ones: clients accept messages of 4 MiB. */
const LISTED_REVERSALS_MAX = 20;

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
    if (dryRun) violations.push({ field: `transfers[${index}].dry_run`, rule: "must be false: the batch has its own" });
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

async function parseFilter(manager: EntityManager, request: ListTransactionsRequest): Promise<TransactionFilter> {
  const { of, createTimeFrom, createTimeBefore } = request;
  return {
    accountIds: of === undefined ? null : await findAccountIds(manager, of),
    kinds: request.kinds.map(kindFromCode),
    states: request.states as number[] as StoredState[],
    from: createTimeFrom === undefined ? null : microsUp(createTimeFrom),
    before: createTimeBefore === undefined ? null : microsUp(createTimeBefore),
    minAmount: request.minAmount ?? null,
    maxAmount: request.maxAmount ?? null,
    currencyCode: request.currencyCode,
    descriptionPrefix: request.descriptionPrefix,
    externalReference: request.externalReference,
    metadata: request.metadataFilters.map(parseMetadataFilter),
  };
}

function parseMetadataFilter({ key, condition }: MetadataFilter): MetadataCondition {
  switch (condition?.$case) {
    case undefined:
      return { key, values: null, range: null };
    case "equals":
      return { key, values: [condition.value], range: null };
    case "anyOf":
      return { key, values: condition.value.values, range: null };
    case "range":
      return { key, values: null, range: condition.value };
  }
}

async function findAccountIds(manager: EntityManager, of: NonNullable<ListTransactionsRequest["of"]>): Promise<Uuid[]> {
  const id = parseId(of.value);
  if (of.$case === "walletId") {
    const exists = await manager.existsBy(WalletEntity, { id });
    return exists ? [id] : fail({ reason: "WALLET_NOT_FOUND", walletId: id });
  }
  return findWalletIds(manager, id);
}
