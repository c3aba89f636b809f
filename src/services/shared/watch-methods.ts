import { TransactionState } from "../../../generated/grey/transaction/v1/transaction.js";
import type {
  TransactionServiceService,
  WatchTransactionsRequest,
  WatchTransactionsResponse,
} from "../../../generated/grey/transaction/v1/transaction_service.js";
import {
  WalletState,
  type WalletServiceService,
  type WatchWalletRequest,
  type WatchWalletResponse,
} from "../../../generated/grey/wallet/v1/wallet_service.js";
import { In, type EntityManager } from "typeorm";
import { fail } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { readJournalSize } from "../../db/journal-size.js";
import { reading, readingSnapshot } from "../../db/transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { WalletEntity } from "../../entities/wallet.js";
import { findPastAccount } from "../../ledger/account/history.js";
import type { Interest, Sight, Tail } from "../../ledger/watch/tail.js";
import { accountsTouchedBy } from "../../ledger/transaction/transaction.js";
import { watchJournal } from "../../ledger/watch/watch.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { balancesAfter, presentBalance, presentTransaction } from "./present.js";
import { assertUserExists } from "../user/user-service.js";

/** What watches read. */
export interface Watching {
  readonly tail: Tail;
  /** A watch with nothing to tell says how far it is after this. */
  readonly progressMs: number;
}

/** The method of grey.transaction.v1.TransactionService that watches. */
export function createTransactionWatch(
  database: Database,
  { tail, progressMs }: Watching,
): Pick<Methods<typeof TransactionServiceService>, "watchTransactions"> {
  return {
    watchTransactions: {
      watch: async function* (request, context, signal) {
        const { size, interest } = await reading(database, context, async ({ manager, client }) => ({
          // In this order: a wallet that is opened meanwhile is either among the user's wallets or in what will be read.
          size: await readJournalSize(client),
          interest: await parseInterest(manager, request),
        }));
        const asked = request.fromJournalIndex ?? size;
        // What comes before a place to come is read, and not told: it may open wallets of the user.
        const from = asked < size ? asked : size;
        for await (const { index, sight } of watchJournal(tail, { from, interest, progressMs }, signal)) {
          if (sight === undefined)
            yield { journalIndex: index < asked ? asked - 1n : index, transaction: undefined, balances: [] };
          else if (index >= asked) yield present(sight);
        }
      },
      resumeAt: ({ journalIndex }) => journalIndex + 1n,
    },
  };
}

/** The method of grey.wallet.v1.WalletService that watches. */
export function createWalletWatch(
  database: Database,
  { tail, progressMs }: Watching,
): Pick<Methods<typeof WalletServiceService>, "watchWallet"> {
  return {
    watchWallet: {
      watch: async function* (request, context, signal) {
        const walletId = parseId(request.walletId);
        const { from, asked, ...beginning } = await beginningOf(database, context, request);
        const interest = {
          concerns: ({ touched }) => touched.has(walletId),
          wants: (sight) => changeOf(sight, walletId) !== undefined,
        } satisfies Interest;
        /** What the wallet is right before the place that was asked for, until it is told. */
        let first: Partial<WatchWalletResponse> | undefined = beginning;
        for await (const { index, sight } of watchJournal(tail, { from, interest, progressMs }, signal)) {
          const change = sight === undefined ? undefined : changeOf(sight, walletId);
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

const presented = new WeakMap<Sight, WatchTransactionsResponse>();

/** The message of a sight, the same for all who are told of it. */
function present(sight: Sight): WatchTransactionsResponse {
  let message = presented.get(sight);
  if (message === undefined) {
    const { index, transaction } = sight;
    message = {
      journalIndex: index,
      transaction: transaction === undefined ? undefined : presentTransaction(transaction),
      balances: transaction === undefined ? [] : balancesAfter(transaction),
    };
    presented.set(sight, message);
  }
  return message;
}

/** What passes the filters. Fails: WALLET_NOT_FOUND, USER_NOT_FOUND. */
async function parseInterest(manager: EntityManager, request: WatchTransactionsRequest): Promise<Interest> {
  const wallets = request.walletIds.length === 0 ? undefined : new Set(request.walletIds.map(parseId));
  if (wallets !== undefined) await assertWalletsExist(manager, [...wallets]);
  const userId = request.userId === "" ? undefined : parseId(request.userId);
  const ofUser = userId === undefined ? undefined : await walletsOf(manager, userId);
  const kinds = request.kinds.length === 0 ? undefined : new Set(request.kinds);
  const states = new Set(request.states.length === 0 ? [TransactionState.POSTED] : request.states);
  return {
    concerns: ({ touched, opened }) => {
      for (const [walletId, owner] of opened) if (owner === userId) ofUser?.add(walletId);
      return meets(touched, wallets) && meets(touched, ofUser);
    },
    wants: ({ transaction }) => {
      if (transaction === undefined) return false;
      const state = transaction.failure === null ? TransactionState.POSTED : TransactionState.REJECTED;
      if (!states.has(state) || kinds?.has(transaction.kind) === false) return false;
      const accounts = accountsTouchedBy(transaction);
      return accounts.some((id) => wallets?.has(id) !== false) && accounts.some((id) => ofUser?.has(id) !== false);
    },
  };
}

/** Whether one of the wanted is among the touched; what is not given is every one. */
function meets(touched: ReadonlySet<Uuid>, wanted: ReadonlySet<Uuid> | undefined): boolean {
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

async function walletsOf(manager: EntityManager, userId: Uuid): Promise<Set<Uuid>> {
  await assertUserExists(manager, userId, { evenDeleted: true });
  const wallets = await manager.find(WalletEntity, { select: { id: true }, where: { userId } });
  return new Set(wallets.map(({ id }) => id));
}

const NO_CHANGE = { balance: undefined, state: WalletState.UNSPECIFIED, transactionId: "" } as const;

/** Where the watch begins to read and to tell, and what the wallet is where it begins. Fails: WALLET_NOT_FOUND. */
function beginningOf(database: Database, context: CallContext, request: WatchWalletRequest) {
  const walletId = parseId(request.walletId);
  return readingSnapshot(database, context, async ({ manager, client }) => {
    const account = await manager.findOneBy(AccountEntity, { id: walletId });
    if (account === null || account.systemAccount !== null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
    const size = await readJournalSize(client);
    const asked = request.fromJournalIndex ?? size;
    if (asked >= size) return { from: size, asked, balance: presentBalance(account), state: account.state };
    const past = await findPastAccount(client, walletId, { journalIndex: asked - 1n });
    // What its state was then is not kept; its changes are in the journal.
    return { from: asked, asked, balance: presentBalance(past ?? account), state: WalletState.UNSPECIFIED };
  });
}

/** What the record changed about the wallet's balance or state; undefined for nothing. */
function changeOf({ id, type, transaction }: Sight, walletId: Uuid): Partial<WatchWalletResponse> | undefined {
  if (transaction !== undefined) {
    const balance = balancesAfter(transaction).findLast((one) => one.walletId === walletId);
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
