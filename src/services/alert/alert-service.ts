import { IsNull, LessThan } from "typeorm";
import {
  AlertBalance,
  Alert,
  AlertEvent,
  type AlertServiceService,
} from "../../../generated/grey/alert/v1/alert_service.js";
import { assertPresent } from "../../base/assert.js";
import { fail } from "../../base/failure.js";
import { newId, parseId } from "../../base/ids.js";
import { fromDate } from "../../base/time.js";
import { readDate } from "../../db/clock.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import {
  BalanceAlertEntity,
  BalanceAlertEventEntity,
  type AlertBalance as AlertBalanceKind,
  type AlertDirection,
  type BalanceAlertRow,
  type BalanceAlertEventRow,
} from "../../entities/alert.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { WalletEntity } from "../../entities/wallet.js";
import { appendRecords } from "../../journal/append.js";
import type { Methods } from "../../rpc/methods.js";
import { answerOnce } from "../shared/once.js";
import { assertWalletExists } from "../wallet/wallets.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { listPage } from "../shared/paging.js";
import { toMoney } from "../shared/messages.js";

/** The most alerts of a wallet: each of its entries is compared with all of them. */
const ALERTS_MAX = 100;

/** Creates grey.alert.v1.AlertService. */
export function createAlertService(database: Database, tokens: PageTokens): Methods<typeof AlertServiceService> {
  return {
    createAlert: (received, context) => {
      const request = { ...received, balance: received.balance || AlertBalance.AVAILABLE };
      return answerOnce(database, context, "CREATE_ALERT", request, async (session) => {
        const { manager } = session;
        const threshold = assertPresent(request.threshold, "threshold");
        const walletId = parseId(request.walletId);
        // Locked, so that alerts created at the same time are counted one after the other.
        const lock = { mode: "for_no_key_update" } as const;
        const wallet = await manager.findOne(WalletEntity, { where: { id: walletId }, lock });
        if (wallet === null) return fail({ reason: "WALLET_NOT_FOUND", walletId });
        const { currencyCode } = await manager.findOneByOrFail(AccountEntity, { id: walletId });
        if (currencyCode !== threshold.currencyCode) {
          fail({
            reason: "CURRENCY_MISMATCH",
            walletId,
            walletCurrencyCode: currencyCode,
            amountCurrencyCode: threshold.currencyCode,
          });
        }
        if ((await manager.countBy(BalanceAlertEntity, { accountId: walletId, deleteTime: IsNull() })) >= ALERTS_MAX)
          fail({ reason: "TOO_MANY_ALERTS", walletId, max: `${ALERTS_MAX}` });
        const id = newId();
        const startIndex = await appendRecords(session.client, [{ id, type: RECORD_TYPE.BALANCE_ALERT_CREATED }]);
        const alert: BalanceAlertRow = {
          id,
          accountId: walletId,
          currencyCode,
          threshold: threshold.minorUnits,
          direction: request.direction as number as AlertDirection,
          balance: request.balance as number as AlertBalanceKind,
          createTime: await readDate(session.client),
          startIndex,
          endIndex: null,
          deleteTime: null,
        };
        await manager.insert(BalanceAlertEntity, alert);
        return {
          response: { alert: toAlertMessage(alert), replayed: false },
          resourceId: id,
          journalIndex: startIndex,
        };
      });
    },

    getAlert: async (request, context) => {
      const id = parseId(request.id);
      const alert = await readInSession(database, context, ({ manager }) =>
        manager.findOneBy(BalanceAlertEntity, { id }),
      );
      return { alert: toAlertMessage(alert ?? fail({ reason: "ALERT_NOT_FOUND", alertId: id })) };
    },

    listAlerts: (request, context) => {
      const walletId = parseId(request.walletId);
      return listPage(database, tokens, request, context, ["ListAlerts", walletId], async ({ manager }) => {
        await assertWalletExists(manager, walletId);
        return {
          field: "alerts",
          read: (below, take) =>
            manager.find(BalanceAlertEntity, {
              where: {
                accountId: walletId,
                deleteTime: IsNull(),
                ...(below !== undefined && { id: LessThan(below) }),
              },
              order: { id: "DESC" },
              take,
            }),
          render: (found) => found.map(toAlertMessage),
          codec: Alert,
          cursorOf: (alert) => alert.id,
        };
      });
    },

    deleteAlert: (request, context) =>
      answerOnce(database, context, "DELETE_ALERT", request, async (session) => {
        const { manager } = session;
        const id = parseId(request.alertId);
        const alert = await manager.findOne(BalanceAlertEntity, {
          where: { id, deleteTime: IsNull() },
          lock: { mode: "pessimistic_write" },
        });
        if (alert === null) return fail({ reason: "ALERT_NOT_FOUND", alertId: id });
        const deleteTime = await readDate(session.client);
        const endIndex = await appendRecords(session.client, [{ id, type: RECORD_TYPE.BALANCE_ALERT_DELETED }]);
        await manager.update(BalanceAlertEntity, { id }, { endIndex, deleteTime });
        const response = { alert: toAlertMessage({ ...alert, deleteTime }), replayed: false };
        return { response, resourceId: id, journalIndex: endIndex };
      }),

    listAlertEvents: (request, context) => {
      const alertId = parseId(request.alertId);
      return listPage(database, tokens, request, context, ["ListAlertEvents", alertId], async ({ manager }) => {
        const alert = await manager.findOneBy(BalanceAlertEntity, { id: alertId });
        if (alert === null) return fail({ reason: "ALERT_NOT_FOUND", alertId });
        return {
          field: "events",
          read: (below, take) =>
            manager.find(BalanceAlertEventEntity, {
              where: { alertId, ...(below !== undefined && { sequence: LessThan(BigInt(below)) }) },
              order: { sequence: "DESC" },
              take,
            }),
          render: (found) => found.map((event) => toEventMessage(event, alert)),
          codec: AlertEvent,
          cursorOf: (event) => event.sequence.toString(),
        };
      });
    },
  };
}

function toAlertMessage(alert: BalanceAlertRow): Alert {
  return {
    id: alert.id,
    walletId: alert.accountId,
    threshold: toMoney(alert.currencyCode, alert.threshold),
    direction: alert.direction,
    balance: alert.balance,
    startIndex: alert.startIndex,
    createTime: fromDate(alert.createTime),
    deleteTime: alert.deleteTime === null ? undefined : fromDate(alert.deleteTime),
  };
}

function toEventMessage(event: BalanceAlertEventRow, { currencyCode }: BalanceAlertRow): AlertEvent {
  return {
    id: event.id,
    alertId: event.alertId,
    transactionId: event.transactionId,
    direction: event.direction,
    balanceBefore: toMoney(currencyCode, event.balanceBefore),
    balanceAfter: toMoney(currencyCode, event.balanceAfter),
    accountSequence: event.sequence,
    journalIndex: event.journalIndex,
    createTime: fromDate(event.createTime),
  };
}
