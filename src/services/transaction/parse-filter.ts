import type { ListTransactionsRequest, MetadataFilter } from "../../../generated/grey/transaction/v1/query.js";
import type { EntityManager } from "typeorm";
import { kindFromCode, type TransactionState } from "../../base/codes.js";
import { parseId, type Uuid } from "../../base/ids.js";
import { microsUp } from "../../base/time.js";
import type { MetadataCondition, TransactionFilter } from "../../ledger/transaction/filter.js";
import { findWalletIds } from "../user/users.js";
import { assertWalletExists } from "../wallet/wallets.js";

/** Parses the filter of a list of transactions. Fails: WALLET_NOT_FOUND, USER_NOT_FOUND. */
export async function parseFilter(
  manager: EntityManager,
  request: ListTransactionsRequest,
): Promise<TransactionFilter> {
  const { of, createTimeFrom, createTimeBefore } = request;
  return {
    accountIds: of === undefined ? null : await findAccountIds(manager, of),
    kinds: request.kinds.map(kindFromCode),
    states: request.states as number[] as TransactionState[],
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
  if (of.$case === "userId") return findWalletIds(manager, id);
  await assertWalletExists(manager, id);
  return [id];
}
