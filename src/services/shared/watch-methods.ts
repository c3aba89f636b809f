import { TransactionState } from "../../../generated/grey/transaction/v1/transaction.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import type {
  WatchTransactionsRequest,
  WatchTransactionsResponse,
} from "../../../generated/grey/transaction/v1/watch.js";
import { WalletState } from "../../../generated/grey/wallet/v1/wallet.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import type { WatchWalletRequest, WatchWalletResponse } from "../../../generated/grey/wallet/v1/watch.js";
import { In, type EntityManager } from "typeorm";
import { kindFromCode } from "../../base/codes.js";
import { fail } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { readJournalSize } from "../../db/journal-size.js";
import { readInSession, readSnapshot } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { WalletEntity } from "../../entities/wallet.js";
import { findPastAccount } from "../../ledger/account/past-account.js";
import type { WatchedRecord } from "../../ledger/watch/journal-page.js";
import type { JournalTail, WatchFilter } from "../../ledger/watch/journal-tail.js";
import { listAccounts } from "../../ledger/transaction/transaction.js";
import { watchJournal } from "../../ledger/watch/watch-journal.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { toBalancesAfter, toBalanceMessage, toTransactionMessage } from "./messages.js";
import { findWalletIds } from "../user/users.js";

/** What watches read. */
export interface WatchOptions {
  readonly tail: JournalTail;
  /** A watch with nothing to tell says how far it is after this. */
  readonly progressMs: number;
}

/** The method of grey.transaction.v1.TransactionService that watches. */
export function createTransactionWatch(
  database: Database,
  { tail, progressMs }: WatchOptions,
): Pick<Methods<typeof TransactionServiceService>, "watchTransactions"> {
  return {
    watchTransactions: {
      stream: async function* (request, context, signal) {
        const { size, interest } = await readInSession(database, context, async ({ manager, client }) => ({
          // In this order: a wallet that is opened meanwhile is either among the user's wallets or in what will be read.
          size: await readJournalSize(client),
          interest: await parseInterest(manager, request),
        }));
        const asked = request.fromJournalIndex ?? size;
        // What comes before a place to come is read, and not told: it may open wallets of the user.
        const from = asked < size ? asked : size;
        for await (const { index, record: sight } of watchJournal(
          tail,
          { from, filter: interest, progressMs },
          signal,
        )) {
          if (sight === undefined)
            yield { journalIndex: index < asked ? asked - 1n : index, transaction: undefined, balances: [] };
          else if (index >= asked) yield toWatchResponse(sight);
        }
      },
      resumeAt: ({ journalIndex }) => journalIndex + 1n,
    },
  };
}

/** The method of grey.wallet.v1.WalletService that watches. */
export function createWalletWatch(
  database: Database,
  { tail, progressMs }: WatchOptions,
): Pick<Methods<typeof WalletServiceService>, "watchWallet"> {
  return {
    watchWallet: {
      stream: async function* (request, context, signal) {
        const walletId = parseId(request.walletId);
        const { from, asked, ...beginning } = await findBeginning(database, context, request);
        const interest = {
          mayMatch: ({ subjectIds }) => subjectIds.has(walletId),
          matches: (sight) => toWalletChange(sight, walletId) !== undefined,
        } satisfies WatchFilter;
        /** What the wallet is right before the place that was asked for, until it is told. */
        let first: Partial<WatchWalletResponse> | undefined = beginning;
        for await (const { index, record: sight } of watchJournal(
          tail,
          { from, filter: interest, progressMs },
          signal,
        )) {
          const change = sight === undefined ? undefined : toWalletChange(sight, walletId);
          if (index < asked) first = { ...first, ...change, transactionId: "" };
          // A place to come is waited for; the watch says that it is still there.
          if (index < asked - 1n) {
            if (sight === undefined) yield { ...NO_CHANGE, journalIndex: asked - 1n };
            continue;
          }
          if (first !== undefined) yield { ...NO_CHANGE, ...first, journalIndex: asked - 1n };
          first = undefined;
          if (index >= asked) yield { ...NO_CHANGE, ...change, journalIndex: index };
        }
      },
      resumeAt: ({ journalIndex }) => journalIndex + 1n,
    },
  };
}

const messages = new WeakMap<WatchedRecord, WatchTransactionsResponse>();

/** The message of a sight, the same for all who are told of it. */
function toWatchResponse(sight: WatchedRecord): WatchTransactionsResponse {
  let message = messages.get(sight);
  if (message === undefined) {
    const { index, transaction } = sight;
    message = {
      journalIndex: index,
      transaction: transaction === undefined ? undefined : toTransactionMessage(transaction),
      balances: transaction === undefined ? [] : toBalancesAfter(transaction),
    };
    messages.set(sight, message);
  }
  return message;
}

/** What passes the filters. Fails: WALLET_NOT_FOUND, USER_NOT_FOUND. */
async function parseInterest(manager: EntityManager, request: WatchTransactionsRequest): Promise<WatchFilter> {
  const wallets = request.walletIds.length === 0 ? undefined : new Set(request.walletIds.map(parseId));
  if (wallets !== undefined) await assertWalletsExist(manager, [...wallets]);
  const userId = request.userId === "" ? undefined : parseId(request.userId);
  const ofUser = userId === undefined ? undefined : new Set(await findWalletIds(manager, userId));
  const kinds = request.kinds.length === 0 ? undefined : new Set(request.kinds.map(kindFromCode));
  const states = new Set(request.states.length === 0 ? [TransactionState.POSTED] : request.states);
  return {
    mayMatch: ({ subjectIds, newWalletOwners }) => {
      for (const [walletId, owner] of newWalletOwners) if (owner === userId) ofUser?.add(walletId);
      return intersects(subjectIds, wallets) && intersects(subjectIds, ofUser);
    },
    matches: ({ transaction }) => {
      if (transaction === undefined) return false;
      const state = transaction.failure === null ? TransactionState.POSTED : TransactionState.REJECTED;
      if (!states.has(state) || kinds?.has(transaction.kind) === false) return false;
      const accounts = listAccounts(transaction);
      return accounts.some((id) => wallets?.has(id) !== false) && accounts.some((id) => ofUser?.has(id) !== false);
    },
  };
}

/** Whether one of the wanted is among the touched; what is not given is every one. */
function intersects(touched: ReadonlySet<Uuid>, wanted: ReadonlySet<Uuid> | undefined): boolean {
  if (wanted === undefined) return true;
  const [fewer, more] = touched.size < wanted.size ? [touched, wanted] : [wanted, touched];
  for (const id of fewer) if (more.has(id)) return true;
  return false;
}

async function assertWalletsExist(manager: EntityManager, ids: readonly Uuid[]): Promise<void> {
  const found = await manager.find(WalletEntity, { select: { id: true }, where: { id: In(ids) } });
  const missing = ids.find((id) => !found.some((wallet) => wallet.id === id));
  if (missing !== undefined) fail({ reason: "WALLET_NOT_FOUND", walletId: missing });
}

const NO_CHANGE = { balance: undefined, state: WalletState.UNSPECIFIED, transactionId: "" } as const;

/** Where the watch begins to read and to tell, and what the wallet is where it begins. Fails: WALLET_NOT_FOUND. */
function findBeginning(database: Database, context: CallContext, request: WatchWalletRequest) {
  const walletId = parseId(request.walletId);
  return readSnapshot(database, context, async ({ manager, client }) => {
    const account = await manager.findOneBy(AccountEntity, { id: walletId });
    if (account === null || account.systemAccount !== null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
    const size = await readJournalSize(client);
    const asked = request.fromJournalIndex ?? size;
    if (asked >= size) return { from: size, asked, balance: toBalanceMessage(account), state: account.state };
    const past = await findPastAccount(client, walletId, { journalIndex: asked - 1n });
    // What its state was then is not kept; its changes are in the journal.
    return { from: asked, asked, balance: toBalanceMessage(past ?? account), state: WalletState.UNSPECIFIED };
  });
}

/** What the record changed about the wallet's balance or state; undefined for nothing. */
function toWalletChange(
  { id, type, transaction }: WatchedRecord,
  walletId: Uuid,
): Partial<WatchWalletResponse> | undefined {
  if (transaction !== undefined) {
    const balance = toBalancesAfter(transaction).findLast((one) => one.walletId === walletId);
    return balance && { balance, transactionId: transaction.id };
  }
  const state = STATE_AFTER[type];
  return id === walletId && state !== undefined ? { state } : undefined;
}

/** The state of a wallet from such a record on. */
const STATE_AFTER: Readonly<Record<number, WalletState>> = {
  [RECORD_TYPE.WALLET_CREATED]: WalletState.OPEN,
  [RECORD_TYPE.WALLET_FROZEN]: WalletState.FROZEN,
  [RECORD_TYPE.WALLET_UNFROZEN]: WalletState.OPEN,
  [RECORD_TYPE.WALLET_CLOSED]: WalletState.CLOSED,
  [RECORD_TYPE.WALLET_REOPENED]: WalletState.OPEN,
};
