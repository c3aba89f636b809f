import { In, MoreThan, type EntityManager } from "typeorm";
import { GetWalletResponse } from "../../../generated/grey/wallet/v1/wallet.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import { createRoom } from "../../base/room.js";
import { readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { AccountEntity, AccountStateEntity } from "../../entities/account.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { WalletEntity, type WalletRow } from "../../entities/wallet.js";
import type { Methods } from "../../rpc/methods.js";
import { toBalanceMessage, toEtag, toWalletMessage } from "../shared/messages.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage, ROWS_AT_ONCE } from "../shared/paging.js";
import type { WatchOptions } from "../shared/watch-options.js";
import { assertUserExists } from "../user/users.js";
import { createBalanceMethods } from "./balance-methods.js";
import { createOpeningMethods } from "./opening-methods.js";
import { createStateMethods } from "./state-methods.js";
import { createStatementPages } from "./statement-page.js";
import { createStatementStream } from "./statement-stream.js";
import { createWalletWatch } from "./wallet-watch.js";

/** Creates grey.wallet.v1.WalletService. Its own methods are GetWallet, BatchGetWallets, ListWallets and UpdateWallet. */
export function createWalletService(
  database: Database,
  tokens: PageTokens,
  watching: WatchOptions,
): Methods<typeof WalletServiceService> {
  return {
    getWallet: async ({ id }, context) => {
      const walletId = parseId(id);
      const found = await readInSession(database, context, ({ manager }) => findWallets(manager, [walletId]));
      return found.get(walletId) ?? fail({ reason: "WALLET_NOT_FOUND", walletId });
    },

    batchGetWallets: async (request, context) => {
      const ids = request.ids.map(parseId);
      return readInSession(database, context, async ({ manager }) => {
        const wallets: GetWalletResponse[] = [];
        const room = createRoom(GetWalletResponse);
        for (let end = 0; end < ids.length && wallets.length === end;) {
          const some = ids.slice(end, (end += ROWS_AT_ONCE));
          const found = await findWallets(manager, some);
          const present = some.map((walletId) => found.get(walletId) ?? fail({ reason: "WALLET_NOT_FOUND", walletId }));
          wallets.push(...room.take(present));
        }
        return { wallets, unreadIds: ids.slice(wallets.length) };
      });
    },

    listWallets: (request, context) => {
      const userId = parseId(request.userId);
      return listPage(database, tokens, request, context, ["ListWallets", userId], async ({ manager }) => {
        await assertUserExists(manager, userId);
        return {
          field: "wallets",
          read: (after, take) =>
            manager.find(WalletEntity, {
              where: { userId, ...(after !== undefined && { id: MoreThan(after) }) },
              order: { id: "ASC" },
              take,
            }),
          render: (found) => withAccounts(manager, found),
          codec: GetWalletResponse,
          cursorOf: (wallet) => wallet.id,
        };
      });
    },

    updateWallet: (request, context) =>
      answerOnce(database, context, "UPDATE_WALLET", request, async (session) => {
        const wallet = await lockWallet(session, parseId(request.walletId), request.etag);
        const paths = new Set(request.updateMask);
        if (paths.has("label")) wallet.label = request.label;
        if (paths.has("metadata")) wallet.metadata = request.metadata;
        wallet.revision += 1;
        wallet.updateTime = await readDate(session.client);
        const { id, ...columns } = wallet;
        await session.manager.update(WalletEntity, { id }, columns);
        const account = await session.manager.findOneByOrFail(AccountEntity, { id });
        return {
          response: { wallet: toWalletMessage(wallet, account), replayed: false },
          resourceId: id,
          records: [{ id, type: RECORD_TYPE.WALLET_UPDATED }],
        };
      }),

    ...createOpeningMethods(database),
    ...createStateMethods(database),
    ...createBalanceMethods(database),
    ...createStatementPages(database, tokens),
    ...createStatementStream(database),
    ...createWalletWatch(database, watching),
  };
}

/** Finds a wallet and locks it for a change. Fails: WALLET_NOT_FOUND, ETAG_MISMATCH. */
async function lockWallet({ manager }: Session, walletId: Uuid, etag: string): Promise<WalletRow> {
  const wallet = await manager.findOne(WalletEntity, { where: { id: walletId }, lock: { mode: "pessimistic_write" } });
  if (wallet === null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
  if (etag !== "" && etag !== toEtag(wallet)) return fail({ reason: "ETAG_MISMATCH", etag: toEtag(wallet) });
  return wallet;
}

async function findWallets(manager: EntityManager, ids: readonly Uuid[]): Promise<Map<Uuid, GetWalletResponse>> {
  const wallets = await manager.findBy(WalletEntity, { id: In(ids) });
  const messages = await withAccounts(manager, wallets);
  return new Map(messages.map((message, index) => [assertPresent(wallets[index], "a wallet").id, message]));
}

async function withAccounts(manager: EntityManager, wallets: readonly WalletRow[]): Promise<GetWalletResponse[]> {
  const accounts = await manager.findBy(AccountStateEntity, { id: In(wallets.map((wallet) => wallet.id)) });
  const byId = new Map(accounts.map((account) => [account.id, account]));
  return wallets.map((wallet) => {
    const account = assertPresent(byId.get(wallet.id), "a wallet's account");
    return { wallet: toWalletMessage(wallet, account), balance: toBalanceMessage(account) };
  });
}
