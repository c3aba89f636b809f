import { In, MoreThan, type EntityManager } from "typeorm";
import { GetWalletResponse, type CreateWalletRequest } from "../../../generated/grey/wallet/v1/wallet.js";
import type { GetBalanceRequest, GetBalanceResponse } from "../../../generated/grey/wallet/v1/balance.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { newId, parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { createRoom } from "../../base/room.js";
import { microsDown, type Micros } from "../../base/time.js";
import { readClock, readDate } from "../../db/clock.js";
import type { Database, Queryable } from "../../db/database.js";
import { readInSession, readSnapshot, type Session } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { NORMAL_SIDE } from "../../base/codes.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { WalletEntity, type WalletRow } from "../../entities/wallet.js";
import type { JournalRecord } from "../../journal/append.js";
import { findEffectiveBalance } from "../../ledger/statement/effective-balance.js";
import { findPastAccount, type AsOf } from "../../ledger/account/past-account.js";
import { decodeLimits, encodeVelocity, replaceVelocity, WALLET_LIMITS } from "../../ledger/account/limits.js";
import { postUnits } from "../../ledger/post/post-units.js";
import type { LedgerTransaction } from "../../ledger/transaction/transaction.js";
import { NO_CALLER_DATA, type MovementCommand } from "../../ledger/command/command.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import { openPage, ROWS_AT_ONCE, type PageTokens } from "../shared/paging.js";
import { toEtag, toMoneyIfInt64, toBalanceMessage, toWalletMessage } from "../shared/messages.js";
import { toStatementResponse } from "./statement-page.js";
import { createStatementStream } from "./statement-stream.js";
import { createStateMethods } from "./states.js";
import { createWalletWatch, type WatchOptions } from "../shared/watch-methods.js";
import { assertUserExists, lockUserForShare } from "../user/users.js";

/** grey.wallet.v1.WalletService. */
export function createWalletService(
  database: Database,
  tokens: PageTokens,
  watching: WatchOptions,
): Methods<typeof WalletServiceService> {
  return {
    createWallet: (asked, context) => {
      // An initial balance of 0 is none.
      const request = asked.initialBalance?.minorUnits === 0n ? { ...asked, initialBalance: undefined } : asked;
      return answerOnce(database, context, "CREATE_WALLET", request, async (session) => {
        const userId = parseId(request.userId);
        await lockUserForShare(session, userId);
        const wallet = await insertWallet(session, request, userId);
        const opening = await postOpening(session, context, request, wallet.id);
        const account = await session.manager.findOneByOrFail(AccountEntity, { id: wallet.id });
        return {
          response: { wallet: toWalletMessage(wallet, account), balance: toBalanceMessage(account), replayed: false },
          resourceId: wallet.id,
          ...(opening === undefined ? { records: [walletCreated(wallet.id)] } : { transaction: opening }),
        };
      });
    },

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
          const asked = some.map((walletId) => found.get(walletId) ?? fail({ reason: "WALLET_NOT_FOUND", walletId }));
          wallets.push(...room.take(asked));
        }
        return { wallets, unreadIds: ids.slice(wallets.length) };
      });
    },

    listWallets: async (request, context) => {
      const userId = parseId(request.userId);
      const scope = ["ListWallets", context.caller, userId];
      const page = openPage(tokens, scope, request);
      return readInSession(database, context, async ({ manager }) => {
        await assertUserExists(manager, userId);
        const { items: wallets, nextPageToken } = await page.read({
          read: (after, take) =>
            manager.find(WalletEntity, {
              where: { userId, ...(after !== undefined && { id: MoreThan(after) }) },
              order: { id: "ASC" },
              take,
            }),
          render: (found) => withAccounts(manager, found),
          codec: GetWalletResponse,
          cursorOf: (wallet) => wallet.id,
        });
        return { wallets, nextPageToken };
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

    ...createStateMethods(database),
    ...createWalletWatch(database, watching),
    ...createStatementStream(database),

    getStatement: (request, context) =>
      readSnapshot(database, context, ({ client }) => toStatementResponse(client, request, context, tokens)),

    getBalance: async (request, context) => {
      const walletId = parseId(request.walletId);
      const { asOf } = request;
      if (asOf?.$case === "effectiveTime")
        return readInSession(database, context, ({ client }) =>
          effectiveBalance(client, walletId, microsDown(asOf.value)),
        );
      const account = await readInSession(database, context, ({ manager, client }) =>
        asOf === undefined
          ? manager.findOneBy(AccountEntity, { id: walletId })
          : findPastAccount(client, walletId, parseAsOf(asOf)),
      );
      if (account === null || account === undefined || account.systemAccount !== null)
        return fail({ reason: "WALLET_NOT_FOUND", walletId });
      return { balance: toBalanceMessage(account), postedMinorUnits: "" };
    },
  };
}

async function insertWallet(session: Session, request: CreateWalletRequest, userId: Uuid): Promise<WalletRow> {
  const { manager } = session;
  const { currencyCode, label, metadata } = request;
  const now = await readDate(session.client);
  const limits = await openingLimits(session, currencyCode);
  const wallet: WalletRow = {
    id: newId(),
    userId,
    label,
    metadata,
    stateReason: "",
    revision: 1,
    createTime: now,
    updateTime: now,
  };
  await manager.insert(WalletEntity, wallet);
  await manager.insert(AccountEntity, {
    id: wallet.id,
    systemAccount: null,
    currencyCode,
    normalSide: NORMAL_SIDE.CREDIT,
    ...limits,
  });
  return wallet;
}

/** The limits of a new wallet: those that were set for its currency, or else that it is never overdrawn. */
async function openingLimits({ manager, client }: Session, currencyCode: string) {
  const currency = await manager.findOneBy(CurrencyEntity, { code: currencyCode });
  if (currency === null) return fail({ reason: "CURRENCY_NOT_FOUND", currencyCode });
  const limits = currency.defaultLimits === null ? WALLET_LIMITS : decodeLimits(currency.defaultLimits);
  return {
    minBalance: limits.minBalanceMinor,
    maxBalance: limits.maxBalanceMinor,
    velocityLimits: encodeVelocity(replaceVelocity([], limits.velocity, await readClock(client))),
  };
}

function walletCreated(walletId: Uuid): JournalRecord {
  return { id: walletId, type: RECORD_TYPE.WALLET_CREATED };
}

/** Posts the initial balance under the wallet's own request id, which is claimed already; in the journal, after the wallet. */
async function postOpening(
  { client }: Session,
  { caller, requestId }: CallContext,
  { currencyCode, initialBalance }: CreateWalletRequest,
  walletId: Uuid,
): Promise<LedgerTransaction | undefined> {
  if (initialBalance === undefined) return undefined;
  const amountMinor = initialBalance.minorUnits;
  const openingId = systemAccountId(currencyCode, "opening");
  const opening: MovementCommand = {
    kind: "OPENING",
    caller,
    requestId,
    transactionId: newId(),
    debitAccountId: openingId,
    creditAccountId: walletId,
    currencyCode,
    amountMinor,
    ...NO_CALLER_DATA,
    effectiveTime: null,
    isUpTo: false,
    preconditions: [],
    requestTerms: null,
    system: { name: "opening", accountId: openingId },
  };
  const [outcomes] = await postUnits(client, [{ commands: [opening], mode: "ATOMIC" }], {
    findDifferences: null,
    leading: [walletCreated(walletId)],
  });
  const posted = assertPresent(outcomes?.[0], "the opening's outcome");
  if ("failure" in posted) return fail(posted.failure);
  if (posted.transaction.failure !== null) return fail(posted.transaction.failure);
  return posted.transaction;
}

/** What had taken effect by the time: nothing is told of holds, which only the record knows. */
async function effectiveBalance(client: Queryable, walletId: Uuid, time: Micros): Promise<GetBalanceResponse> {
  const found = await findEffectiveBalance(client, walletId, time);
  if (found === undefined || found.systemAccount !== null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
  const { currencyCode, balanceMinor } = found;
  const none = { available: undefined, pendingOutgoing: undefined, pendingIncoming: undefined, version: 0n };
  return {
    balance: { walletId, posted: toMoneyIfInt64(currencyCode, balanceMinor), ...none },
    postedMinorUnits: balanceMinor.toString(),
  };
}

/** A moment by the record. */
function parseAsOf(asOf: Exclude<NonNullable<GetBalanceRequest["asOf"]>, { $case: "effectiveTime" }>): AsOf {
  return asOf.$case === "recordTime" ? { recordTime: microsDown(asOf.value) } : { journalIndex: asOf.value };
}

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
  const accounts = await manager.findBy(AccountEntity, { id: In(wallets.map((wallet) => wallet.id)) });
  const byId = new Map(accounts.map((account) => [account.id, account]));
  return wallets.map((wallet) => {
    const account = assertPresent(byId.get(wallet.id), "a wallet's account");
    return { wallet: toWalletMessage(wallet, account), balance: toBalanceMessage(account) };
  });
}
