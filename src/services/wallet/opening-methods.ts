import { SYSTEM_ACCOUNT } from "../../ledger/command/system-account.js";
import type { CreateWalletRequest } from "../../../generated/grey/wallet/v1/wallet.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { assertPresent } from "../../base/assert.js";
import { NORMAL_SIDE } from "../../base/codes.js";
import { fail } from "../../base/failure.js";
import { newId, parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { readClock, readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import type { Session } from "../../db/in-transaction.js";
import { AccountEntity, AccountStateEntity } from "../../entities/account.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { WalletEntity, type WalletRow } from "../../entities/wallet.js";
import type { JournalRecord } from "../../journal/append.js";
import { decodeLimits, encodeVelocity, replaceVelocity, WALLET_LIMITS } from "../../ledger/account/limits.js";
import { NO_CALLER_DATA, type MovementCommand } from "../../ledger/command/command.js";
import { postUnits } from "../../ledger/post/turn.js";
import type { LedgerTransaction } from "../../ledger/transaction/transaction.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { toBalanceMessage, toWalletMessage } from "../shared/messages.js";
import { answerOnce } from "../shared/once.js";
import { lockUserForShare } from "../user/users.js";

/** Creates the method of grey.wallet.v1.WalletService that opens wallets: CreateWallet. */
export function createOpeningMethods(database: Database): Pick<Methods<typeof WalletServiceService>, "createWallet"> {
  return {
    createWallet: (received, context) => {
      // An initial balance of 0 is the same as none.
      const request =
        received.initialBalance?.minorUnits === 0n ? { ...received, initialBalance: undefined } : received;
      return answerOnce(database, context, "CREATE_WALLET", request, async (session) => {
        const userId = parseId(request.userId);
        await lockUserForShare(session, userId);
        const wallet = await insertWallet(session, request, userId);
        const opening = await postOpening(session, context, request, wallet.id);
        const account = await session.manager.findOneByOrFail(AccountStateEntity, { id: wallet.id });
        return {
          response: { wallet: toWalletMessage(wallet, account), balance: toBalanceMessage(account), replayed: false },
          resourceId: wallet.id,
          ...(opening === undefined ? { records: [walletCreated(wallet.id)] } : { transaction: opening }),
        };
      });
    },
  };
}

/** Inserts a wallet and its account. Fails: CURRENCY_NOT_FOUND. */
async function insertWallet(session: Session, request: CreateWalletRequest, userId: Uuid): Promise<WalletRow> {
  const { manager } = session;
  const { currencyCode, label, metadata } = request;
  const now = await readDate(session.client);
  const limits = await findInitialLimits(session, currencyCode);
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

/** Finds the columns of a new wallet's limits: the currency's default limits, or no overdraft. Fails: CURRENCY_NOT_FOUND. */
async function findInitialLimits({ manager, client }: Session, currencyCode: string) {
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

/** Posts the initial balance under the request id of CreateWallet, which is claimed already. Appends the wallet's record first. */
async function postOpening(
  { client }: Session,
  { caller, requestId }: CallContext,
  { currencyCode, initialBalance }: CreateWalletRequest,
  walletId: Uuid,
): Promise<LedgerTransaction | undefined> {
  if (initialBalance === undefined) return undefined;
  const amountMinor = initialBalance.minorUnits;
  const openingId = systemAccountId(currencyCode, SYSTEM_ACCOUNT.OPENING);
  const opening: MovementCommand = {
    kind: "OPENING",
    caller,
    requestId,
    transactionId: newId(),
    debitAccountId: openingId,
    creditAccountId: walletId,
    currencyCode,
    amountMinor,
    data: NO_CALLER_DATA,
    effectiveTime: null,
    isUpTo: false,
    preconditions: [],
    requestTerms: null,
    system: { name: SYSTEM_ACCOUNT.OPENING, accountId: openingId },
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
