import { WalletState } from "../../../generated/grey/wallet/v1/wallet.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import type { WatchWalletRequest, WatchWalletResponse } from "../../../generated/grey/wallet/v1/watch.js";
import { fail } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { readSnapshot } from "../../db/in-transaction.js";
import { readJournalSize } from "../../db/journal-size.js";
import { AccountStateEntity } from "../../entities/account.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { findPastAccount } from "../../ledger/account/past-account.js";
import type { WatchedRecord } from "../../ledger/watch/journal-page.js";
import type { WatchFilter } from "../../ledger/watch/journal-tail.js";
import { watchJournal } from "../../ledger/watch/watch-journal.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { toBalanceMessage, toBalancesAfter } from "../shared/messages.js";
import type { WatchOptions } from "../shared/watch-options.js";

/** Creates the method of grey.wallet.v1.WalletService that watches a wallet: WatchWallet. */
export function createWalletWatch(
  database: Database,
  { tail, progressMs }: WatchOptions,
): Pick<Methods<typeof WalletServiceService>, "watchWallet"> {
  return {
    watchWallet: {
      stream: async function* (request, context, signal) {
        const walletId = parseId(request.walletId);
        const { from, first, ...beginning } = await findBeginning(database, context, request);
        const filter = {
          mayMatch: ({ subjectIds }) => subjectIds.has(walletId),
          matches: (record) => toChange(record, walletId) !== undefined,
        } satisfies WatchFilter;
        /** The wallet right before the first index, until it is sent. */
        let initial: Partial<WatchWalletResponse> | undefined = beginning;
        for await (const { index, record } of watchJournal(tail, { from, filter, progressMs }, signal)) {
          const change = record === undefined ? undefined : toChange(record, walletId);
          if (index < first) initial = { ...initial, ...change, transactionId: "" };
          // The journal may not have reached the first index yet; the watch only reports that it is still there.
          if (index < first - 1n) {
            if (record === undefined) yield { ...NO_CHANGE, journalIndex: first - 1n };
            continue;
          }
          if (initial !== undefined) yield { ...NO_CHANGE, ...initial, journalIndex: first - 1n };
          initial = undefined;
          if (index >= first) yield { ...NO_CHANGE, ...change, journalIndex: index };
        }
      },
      resumeAt: ({ journalIndex }) => journalIndex + 1n,
    },
  };
}

const NO_CHANGE = { balance: undefined, state: WalletState.UNSPECIFIED, transactionId: "" } as const;

/** Finds the index to read from, the first index to report, and the wallet as it is before what is read. Fails: WALLET_NOT_FOUND. */
function findBeginning(database: Database, context: CallContext, request: WatchWalletRequest) {
  const walletId = parseId(request.walletId);
  return readSnapshot(database, context, async ({ manager, client }) => {
    const account = await manager.findOneBy(AccountStateEntity, { id: walletId });
    if (account === null || account.systemAccount !== null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
    const size = await readJournalSize(client);
    const first = request.fromJournalIndex ?? size;
    if (first >= size) return { from: size, first, balance: toBalanceMessage(account), state: account.state };
    const past = await findPastAccount(client, walletId, { journalIndex: first - 1n });
    // Past states are not stored; their changes are in the journal.
    return { from: first, first, balance: toBalanceMessage(past ?? account), state: WalletState.UNSPECIFIED };
  });
}

/** Returns the change of the wallet's balance or state that a record made; undefined for none. */
function toChange({ id, type, transaction }: WatchedRecord, walletId: Uuid): Partial<WatchWalletResponse> | undefined {
  if (transaction !== undefined) {
    const balance = toBalancesAfter(transaction).findLast((one) => one.walletId === walletId);
    return balance && { balance, transactionId: transaction.id };
  }
  const state = STATE_AFTER[type];
  return id === walletId && state !== undefined ? { state } : undefined;
}

/** The state of a wallet after a record of a type. */
const STATE_AFTER: Readonly<Record<number, WalletState>> = {
  [RECORD_TYPE.WALLET_CREATED]: WalletState.OPEN,
  [RECORD_TYPE.WALLET_FROZEN]: WalletState.FROZEN,
  [RECORD_TYPE.WALLET_UNFROZEN]: WalletState.OPEN,
  [RECORD_TYPE.WALLET_CLOSED]: WalletState.CLOSED,
  [RECORD_TYPE.WALLET_REOPENED]: WalletState.OPEN,
};
