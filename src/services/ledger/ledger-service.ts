import { SYSTEM_ACCOUNT } from "../../ledger/command/system-account.js";
import { IsNull, MoreThan, Not } from "typeorm";
import { Account as AccountMessage, type CreateAccountRequest } from "../../../generated/grey/ledger/v1/account.js";
import { Currency as CurrencyMessage } from "../../../generated/grey/ledger/v1/currency.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { TrialBalance as TrialBalanceMessage } from "../../../generated/grey/ledger/v1/trial_balance.js";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid } from "../../base/failure.js";
import { parseId, systemAccountId } from "../../base/ids.js";
import { createRoom } from "../../base/room.js";
import type { Database } from "../../db/database.js";
import { readInSession, readSnapshot, type Session } from "../../db/in-transaction.js";
import { AccountStateEntity, type AccountStateRow } from "../../entities/account.js";
import type { NormalSide } from "../../base/codes.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { insertSystemAccount } from "../../ledger/account/system-account.js";
import { ALL_WALLETS, readTrialBalance, type TrialBalance } from "../../ledger/account/trial-balance.js";
import { createCurrency } from "../../ledger/currency/create-currency.js";
import type { Methods } from "../../rpc/methods.js";
import { createIntegrityMethods } from "./integrity-methods.js";
import { createNamingMethods } from "./naming-methods.js";
import { createLimitMethods } from "./limit-methods.js";
import { createRateMethods } from "./rate-methods.js";
import { answerOnce } from "../shared/once.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { answerPage, listPage } from "../shared/paging.js";
import { toMoney } from "../shared/messages.js";

/** Creates grey.ledger.v1.LedgerService. Its own methods are about currencies, accounts and the trial balance. @param progressMs how often a check of the ledger reports its progress, in ms */
export function createLedgerService(
  database: Database,
  tokens: PageTokens,
  progressMs: number,
): Methods<typeof LedgerServiceService> {
  return {
    listCurrencies: (request, context) => {
      return listPage(database, tokens, request, context, ["ListCurrencies"], ({ manager }) => ({
        field: "currencies",
        read: (after, take) =>
          manager.find(CurrencyEntity, {
            where: { ...(after !== undefined && { code: MoreThan(after) }) },
            order: { code: "ASC" },
            take,
          }),
        render: (found) => found,
        codec: CurrencyMessage,
        cursorOf: (currency) => currency.code,
      }));
    },

    createCurrency: (request, context) =>
      answerOnce(database, context, "CREATE_CURRENCY", request, async (session) => {
        const { code, exponent, name } = request;
        if (!(await createCurrency(session, { code, exponent, name })))
          fail({ reason: "CURRENCY_EXISTS", currencyCode: code });
        const currency = { code, exponent, name, custom: true };
        const cash = systemAccountId(code, SYSTEM_ACCOUNT.CASH);
        return {
          response: { currency, replayed: false },
          // The journal names things by UUID: a currency by its cash account.
          records: [{ id: cash, type: RECORD_TYPE.CURRENCY_CREATED }],
        };
      }),

    createAccount: (request, context) =>
      answerOnce(database, context, "CREATE_ACCOUNT", request, (session) => createAccount(session, request)),

    ...createLimitMethods(database, tokens),
    ...createNamingMethods(database),
    ...createRateMethods(database, tokens),
    ...createIntegrityMethods(database, progressMs),

    getAccount: async ({ by }, context) => {
      const id =
        by?.$case === "systemAccount"
          ? systemAccountId(by.value.currencyCode, by.value.name)
          : parseId(by?.value ?? "");
      const account = await readInSession(database, context, ({ manager }) =>
        manager.findOneBy(AccountStateEntity, { id }),
      );
      if (account !== null) return { account: toAccountMessage(account) };
      return by?.$case === "systemAccount"
        ? fail({ reason: "ACCOUNT_NOT_FOUND", systemAccount: by.value.name, currencyCode: by.value.currencyCode })
        : fail({ reason: "ACCOUNT_NOT_FOUND", accountId: id });
    },

    listAccounts: (request, context) => {
      const { currencyCode, systemOnly } = request;
      return listPage(
        database,
        tokens,
        request,
        context,
        ["ListAccounts", currencyCode, systemOnly],
        ({ manager }) => ({
          field: "accounts",
          read: (after, take) =>
            manager.find(AccountStateEntity, {
              where: {
                ...(currencyCode !== "" && { currencyCode }),
                ...(systemOnly && { systemAccount: Not(IsNull()) }),
                ...(after !== undefined && { id: MoreThan(after) }),
              },
              order: { id: "ASC" },
              take,
            }),
          render: (found) => found.map(toAccountMessage),
          codec: AccountMessage,
          cursorOf: (account) => account.id,
        }),
      );
    },

    getTrialBalance: (request, context) => {
      const { currencyCode } = request;
      // The whole trial balance is read at one snapshot, and a page is cut by bytes alone.
      return answerPage(tokens, request, context, ["GetTrialBalance", currencyCode], async (after) => {
        const balances = await readSnapshot(database, context, ({ client }) =>
          readTrialBalance(client, currencyCode, after),
        );
        const messages = balances.map(toTrialBalanceMessage);
        const currencies = [...createRoom(TrialBalanceMessage).take(messages)];
        const last = currencies.length < messages.length ? currencies.at(-1) : undefined;
        return { page: { currencies }, next: last?.currencyCode };
      });
    },
  };
}

async function createAccount({ manager, client }: Session, request: CreateAccountRequest) {
  const { name, currencyCode } = assertPresent(request.systemAccount, "system_account");
  if (name === ALL_WALLETS)
    invalid("system_account.name", `must not be ${ALL_WALLETS}: it stands for all wallets together`);
  if (!(await manager.existsBy(CurrencyEntity, { code: currencyCode })))
    fail({ reason: "CURRENCY_NOT_FOUND", currencyCode });
  const id = systemAccountId(currencyCode, name);
  const isNew = await insertSystemAccount(client, {
    id,
    name,
    currencyCode,
    normalSide: request.normalSide as number as NormalSide,
    minBalanceMinor: request.minBalance ?? null,
    maxBalanceMinor: request.maxBalance ?? null,
  });
  if (!isNew) fail({ reason: "ACCOUNT_EXISTS", systemAccount: name, currencyCode });
  const account = await manager.findOneByOrFail(AccountStateEntity, { id });
  return {
    response: { account: toAccountMessage(account), replayed: false },
    records: [{ id, type: RECORD_TYPE.ACCOUNT_CREATED }],
  };
}

/** The most lines of a currency, besides that of all wallets, so that they fit into an answer. */
const TRIAL_BALANCE_LINES_MAX = 10_000;

function toAccountMessage(account: AccountStateRow): AccountMessage {
  const { currencyCode, minBalance, maxBalance } = account;
  return {
    id: account.id,
    systemAccount: account.systemAccount ?? "",
    currencyCode,
    normalSide: account.normalSide,
    balance: toMoney(currencyCode, account.balance),
    minBalance: minBalance === null ? undefined : toMoney(currencyCode, minBalance),
    maxBalance: maxBalance === null ? undefined : toMoney(currencyCode, maxBalance),
    accountSequence: account.sequence,
  };
}

function toTrialBalanceMessage(balance: TrialBalance): TrialBalanceMessage {
  return {
    currencyCode: balance.currencyCode,
    debitMinorUnits: balance.debitMinor.toString(),
    creditMinorUnits: balance.creditMinor.toString(),
    differenceMinorUnits: (balance.debitMinor - balance.creditMinor).toString(),
    accountCount: balance.accountCount,
    lines: balance.lines
      .filter(({ name }, index) => index < TRIAL_BALANCE_LINES_MAX || name === ALL_WALLETS)
      .map((line) => ({
        name: line.name,
        debitMinorUnits: line.debitMinor.toString(),
        creditMinorUnits: line.creditMinor.toString(),
      })),
  };
}
