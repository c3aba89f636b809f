import { TransactionState } from "../../../generated/grey/transaction/v1/transaction.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import type {
  WatchTransactionsRequest,
  WatchTransactionsResponse,
} from "../../../generated/grey/transaction/v1/watch.js";
import { In, type EntityManager } from "typeorm";
import { kindFromCode } from "../../base/codes.js";
import { fail } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { readJournalSize } from "../../db/journal-size.js";
import { WalletEntity } from "../../entities/wallet.js";
import { listAccounts } from "../../ledger/transaction/transaction.js";
import type { WatchedRecord } from "../../ledger/watch/journal-page.js";
import type { WatchFilter } from "../../ledger/watch/journal-tail.js";
import { watchJournal } from "../../ledger/watch/watch-journal.js";
import type { Methods } from "../../rpc/methods.js";
import { toBalancesAfter, toTransactionMessage } from "../shared/messages.js";
import type { WatchOptions } from "../shared/watch-options.js";
import { findWalletIds } from "../user/users.js";

/** Creates the method of grey.transaction.v1.TransactionService that watches transactions: WatchTransactions. */
export function createTransactionWatch(
  database: Database,
  { tail, progressMs }: WatchOptions,
): Pick<Methods<typeof TransactionServiceService>, "watchTransactions"> {
  return {
    watchTransactions: {
      stream: async function* (request, context, signal) {
        const { size, filter } = await readInSession(database, context, async ({ manager, client }) => ({
          // In this order: a wallet that is opened meanwhile is either among the user's wallets or in the records to come.
          size: await readJournalSize(client),
          filter: await parseFilter(manager, request),
        }));
        const first = request.fromJournalIndex ?? size;
        // Records before a first index that lies ahead are read, but not sent: they may open wallets of the user.
        const from = first < size ? first : size;
        for await (const { index, record } of watchJournal(tail, { from, filter, progressMs }, signal)) {
          if (record === undefined)
            yield { journalIndex: index < first ? first - 1n : index, transaction: undefined, balances: [] };
          else if (index >= first) yield toResponse(record);
        }
      },
      resumeAt: ({ journalIndex }) => journalIndex + 1n,
    },
  };
}

const responses = new WeakMap<WatchedRecord, WatchTransactionsResponse>();

/** Returns the message of a record, which all watches share. */
function toResponse(record: WatchedRecord): WatchTransactionsResponse {
  let response = responses.get(record);
  if (response === undefined) {
    const { index, transaction } = record;
    response = {
      journalIndex: index,
      transaction: transaction === undefined ? undefined : toTransactionMessage(transaction),
      balances: transaction === undefined ? [] : toBalancesAfter(transaction),
    };
    responses.set(record, response);
  }
  return response;
}

/** Parses the filter of a watch. Fails: WALLET_NOT_FOUND, USER_NOT_FOUND. */
async function parseFilter(manager: EntityManager, request: WatchTransactionsRequest): Promise<WatchFilter> {
  const wallets = request.walletIds.length === 0 ? undefined : new Set(request.walletIds.map(parseId));
  if (wallets !== undefined) await assertWalletsExist(manager, [...wallets]);
  const userId = request.userId === "" ? undefined : parseId(request.userId);
  const walletsOfUser = userId === undefined ? undefined : new Set(await findWalletIds(manager, userId));
  const kinds = request.kinds.length === 0 ? undefined : new Set(request.kinds.map(kindFromCode));
  const states = new Set(request.states.length === 0 ? [TransactionState.POSTED] : request.states);
  return {
    mayMatch: ({ subjectIds, newWalletOwners }) => {
      for (const [walletId, owner] of newWalletOwners) if (owner === userId) walletsOfUser?.add(walletId);
      return intersects(subjectIds, wallets) && intersects(subjectIds, walletsOfUser);
    },
    matches: ({ transaction }) => {
      if (transaction === undefined) return false;
      const state = transaction.failure === null ? TransactionState.POSTED : TransactionState.REJECTED;
      if (!states.has(state) || kinds?.has(transaction.kind) === false) return false;
      const accounts = listAccounts(transaction);
      return (
        accounts.some((id) => wallets?.has(id) !== false) && accounts.some((id) => walletsOfUser?.has(id) !== false)
      );
    },
  };
}

/** Reports whether the sets have an id in common; an undefined set has every id. */
function intersects(subjectIds: ReadonlySet<Uuid>, selected: ReadonlySet<Uuid> | undefined): boolean {
  if (selected === undefined) return true;
  const [fewer, more] = subjectIds.size < selected.size ? [subjectIds, selected] : [selected, subjectIds];
  for (const id of fewer) if (more.has(id)) return true;
  return false;
}

async function assertWalletsExist(manager: EntityManager, ids: readonly Uuid[]): Promise<void> {
  const found = await manager.find(WalletEntity, {
    select: { id: true },
    where: { id: In(ids) },
  });
  const missing = ids.find((id) => !found.some((wallet) => wallet.id === id));
  if (missing !== undefined) fail({ reason: "WALLET_NOT_FOUND", walletId: missing });
}
