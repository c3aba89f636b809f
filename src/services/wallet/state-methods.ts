import type { FreezeWalletRequest } from "../../../generated/grey/wallet/v1/wallet_state.js";
import type { WalletServiceService } from "../../../generated/grey/wallet/v1/wallet_service.js";
import { fail, type Failure } from "../../base/failure.js";
import { parseId } from "../../base/ids.js";
import { readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import type { Session } from "../../db/in-transaction.js";
import { ACCOUNT_STATE, type AccountState } from "../../base/codes.js";
import { AccountEntity, AccountStateEntity, type AccountStateRow } from "../../entities/account.js";
import { RECORD_TYPE, type RecordType } from "../../entities/journal.js";
import { WalletEntity } from "../../entities/wallet.js";
import { lockHead } from "../../journal/head.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import { toWalletMessage } from "../shared/messages.js";
import { lockUserForShare } from "../user/users.js";

type StateMethods = Pick<
  Methods<typeof WalletServiceService>,
  "freezeWallet" | "unfreezeWallet" | "closeWallet" | "reopenWallet"
>;

/** A change of a wallet's state. */
interface Change {
  readonly to: AccountState;
  readonly record: RecordType;
  /** Returns the rule that forbids the change. */
  readonly check: (account: AccountStateRow) => Failure | undefined;
}

const FREEZE: Change = {
  to: ACCOUNT_STATE.FROZEN,
  record: RECORD_TYPE.WALLET_FROZEN,
  check: ({ id, state }) => checkOpen(id, state),
};
const UNFREEZE: Change = {
  to: ACCOUNT_STATE.OPEN,
  record: RECORD_TYPE.WALLET_UNFROZEN,
  check: ({ id, state }) => {
    if (state === ACCOUNT_STATE.CLOSED) return { reason: "WALLET_CLOSED", walletId: id };
    return state === ACCOUNT_STATE.OPEN ? { reason: "WALLET_NOT_FROZEN", walletId: id } : undefined;
  },
};
const CLOSE: Change = {
  to: ACCOUNT_STATE.CLOSED,
  record: RECORD_TYPE.WALLET_CLOSED,
  check: ({ id, state, balance, pendingDebits, pendingCredits, currencyCode }) => {
    const failure = checkOpen(id, state);
    if (failure !== undefined || (balance === 0n && pendingDebits === 0n && pendingCredits === 0n)) return failure;
    return {
      reason: "WALLET_NOT_EMPTY",
      walletId: id,
      currencyCode,
      postedMinorUnits: balance,
      pendingOutgoingMinorUnits: pendingDebits,
      pendingIncomingMinorUnits: pendingCredits,
    };
  },
};
const REOPEN: Change = {
  to: ACCOUNT_STATE.OPEN,
  record: RECORD_TYPE.WALLET_REOPENED,
  check: ({ id, state }) =>
    state === ACCOUNT_STATE.CLOSED ? undefined : { reason: "WALLET_NOT_CLOSED", walletId: id },
};

/** Creates the methods of grey.wallet.v1.WalletService that change states: FreezeWallet, UnfreezeWallet, CloseWallet and ReopenWallet. */
export function createStateMethods(database: Database): StateMethods {
  return {
    freezeWallet: (request, context) =>
      answerOnce(database, context, "FREEZE_WALLET", request, (session) => changeState(session, request, FREEZE)),
    unfreezeWallet: (request, context) =>
      answerOnce(database, context, "UNFREEZE_WALLET", request, (session) => changeState(session, request, UNFREEZE)),
    closeWallet: (request, context) =>
      answerOnce(database, context, "CLOSE_WALLET", request, (session) => changeState(session, request, CLOSE)),
    reopenWallet: (request, context) =>
      answerOnce(database, context, "REOPEN_WALLET", request, async (session) => {
        // The wallet of a deleted user stays closed.
        const { manager } = session;
        const wallet = await manager.findOneBy(WalletEntity, { id: parseId(request.walletId) });
        if (wallet !== null) await lockUserForShare(session, wallet.userId);
        return changeState(session, request, REOPEN);
      }),
  };
}

/** Changes the state with the journal's head locked, so that every posting comes before the change or sees it. */
async function changeState(session: Session, { walletId, reason }: FreezeWalletRequest, { to, record, check }: Change) {
  const { manager } = session;
  const id = parseId(walletId);
  const wallet = await manager.findOne(WalletEntity, { where: { id }, lock: { mode: "pessimistic_write" } });
  if (wallet === null) return fail({ reason: "WALLET_NOT_FOUND", walletId: id });
  await lockHead(session.client);
  const account = await manager.findOneByOrFail(AccountStateEntity, { id });
  const failure = check(account);
  if (failure !== undefined) fail(failure);
  wallet.stateReason = reason;
  wallet.revision += 1;
  wallet.updateTime = await readDate(session.client);
  await manager.update(AccountEntity, { id }, { state: to });
  await manager.update(WalletEntity, { id }, wallet);
  return {
    response: { wallet: toWalletMessage(wallet, { ...account, state: to }), replayed: false },
    resourceId: id,
    records: [{ id, type: record }],
  };
}

function checkOpen(walletId: string, state: AccountState): Failure | undefined {
  if (state === ACCOUNT_STATE.FROZEN) return { reason: "WALLET_FROZEN", walletId };
  return state === ACCOUNT_STATE.CLOSED ? { reason: "WALLET_CLOSED", walletId } : undefined;
}
