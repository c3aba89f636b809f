import { IsNull, MoreThan, Not } from "typeorm";
import {
  CreateAccountRequest,
  CreateAccountResponse,
  Account as AccountMessage,
} from "../../../generated/grey/ledger/v1/account.js";
import {
  CreateCurrencyRequest,
  CreateCurrencyResponse,
  Currency as CurrencyMessage,
} from "../../../generated/grey/ledger/v1/currency.js";
import type { LedgerServiceService } from "../../../generated/grey/ledger/v1/ledger_service.js";
import { TrialBalance as TrialBalanceMessage } from "../../../generated/grey/ledger/v1/trial_balance.js";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid } from "../../base/failure.js";
import { parseId, systemAccountId } from "../../base/ids.js";
import { createRoom } from "../../base/room.js";
import type { Database } from "../../db/database.js";
import { readInSession, readSnapshot, type Session } from "../../db/in-transaction.js";
import { AccountEntity, type AccountRow } from "../../entities/account.js";
import { NORMAL_SIDE } from "../../base/codes.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { RECORD_TYPE } from "../../entities/journal.js";
import { REQUEST_METHOD } from "../../entities/request.js";
import { ALL_WALLETS, readTrialBalance, type TrialBalance } from "../../ledger/account/trial-balance.js";
import type { Methods } from "../../rpc/methods.js";
import { createIntegrityMethods } from "./integrity-methods.js";
import { createNamingMethods } from "./naming-methods.js";
import { createLimitMethods } from "./limit-methods.js";
import { createRateMethods } from "./rate-methods.js";
import { answerOnce, type OnceMethod } from "../shared/once.js";
import { openPage, type PageTokens } from "../shared/paging.js";
import { toMoney } from "../shared/messages.js";

/** grey.ledger.v1.LedgerService. @param progressMs a check of the books says how far it is after this */
export function createLedgerService(
  database: Database,
  tokens: PageTokens,
  progressMs: number,
): Methods<typeof LedgerServiceService> {
  return {
    listCurrencies: async (request, context) => {
      const scope = ["ListCurrencies", context.caller];
      const page = openPage(tokens, scope, request);
      const { items: currencies, nextPageToken } = await readInSession(database, context, ({ manager }) =>
        page.read({
          read: (after, take) =>
            manager.find(CurrencyEntity, {
              where: { ...(after !== undefined && { code: MoreThan(after) }) },
              order: { code: "ASC" },
              take,
            }),
          render: (found) => found,
          codec: CurrencyMessage,
          cursorOf: (currency) => currency.code,
        }),
      );
      return { currencies, nextPageToken };
    },

    createCurrency: (request, context) =>
      answerOnce(database, context, CREATE_CURRENCY, request, async (session) => {
        const { code, exponent, name } = request;
        // Waits for a concurrent transaction that makes the same currency.
        const { rowCount } = await session.client.query(
          "INSERT INTO currencies (code, exponent, name, custom) VALUES ($1, $2, $3, true) ON CONFLICT DO NOTHING",
          [code, exponent, name],
        );
        if (rowCount === 0) fail({ reason: "CURRENCY_EXISTS", currencyCode: code });
        const currency = { code, exponent, name, custom: true };
        const accounts = SYSTEM_ACCOUNTS.map(({ systemAccount, normalSide }) => ({
          id: systemAccountId(code, systemAccount),
          systemAccount,
          normalSide,
          currencyCode: code,
        }));
        await session.manager.insert(AccountEntity, accounts);
        const cash = systemAccountId(code, "cash");
        return {
          response: { currency, replayed: false },
          // The journal names things by UUID: a currency by its cash account.
          records: [{ id: cash, type: RECORD_TYPE.CURRENCY_CREATED }],
        };
      }),

    createAccount: (request, context) =>
      answerOnce(database, context, CREATE_ACCOUNT, request, (session) => createAccount(session, request)),

    ...createLimitMethods(database, tokens),
    ...createNamingMethods(database),
    ...createRateMethods(database, tokens),
    ...createIntegrityMethods(database, progressMs),

    getAccount: async ({ by }, context) => {
      const id =
        by?.$case === "systemAccount"
          ? systemAccountId(by.value.currencyCode, by.value.name)
          : parseId(by?.value ?? "");
      const account = await readInSession(database, context, ({ manager }) => manager.findOneBy(AccountEntity, { id }));
      if (account !== null) return { account: toAccountMessage(account) };
      return by?.$case === "systemAccount"
        ? fail({ reason: "ACCOUNT_NOT_FOUND", systemAccount: by.value.name, currencyCode: by.value.currencyCode })
        : fail({ reason: "ACCOUNT_NOT_FOUND", accountId: id });
    },

    listAccounts: async (request, context) => {
      const { currencyCode, systemOnly } = request;
      const scope = ["ListAccounts", context.caller, currencyCode, systemOnly];
      const page = openPage(tokens, scope, request);
      const { items: accounts, nextPageToken } = await readInSession(database, context, ({ manager }) =>
        page.read({
          read: (after, take) =>
            manager.find(AccountEntity, {
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
      return { accounts, nextPageToken };
    },

    getTrialBalance: async ({ currencyCode, pageToken }, context) => {
      const scope = ["GetTrialBalance", context.caller, currencyCode];
      const after = tokens.open(scope, pageToken);
      const balances = await readSnapshot(database, context, ({ client }) =>
        readTrialBalance(client, currencyCode, after),
      );
      const presented = balances.map(toTrialBalanceMessage);
      const currencies = [...createRoom(TrialBalanceMessage).take(presented)];
      const last = currencies.length < presented.length ? currencies.at(-1) : undefined;
      return { currencies, nextPageToken: last === undefined ? "" : tokens.seal(scope, last.currencyCode) };
    },
  };
}

const CREATE_CURRENCY: OnceMethod<CreateCurrencyRequest, CreateCurrencyResponse> = {
  method: REQUEST_METHOD.CREATE_CURRENCY,
  request: CreateCurrencyRequest,
  response: CreateCurrencyResponse,
};

const CREATE_ACCOUNT: OnceMethod<CreateAccountRequest, CreateAccountResponse> = {
  method: REQUEST_METHOD.CREATE_ACCOUNT,
  request: CreateAccountRequest,
  response: CreateAccountResponse,
};

async function createAccount({ manager, client }: Session, request: CreateAccountRequest) {
  const { name, currencyCode } = assertPresent(request.systemAccount, "system_account");
  if (name === ALL_WALLETS)
    invalid("system_account.name", `must not be ${ALL_WALLETS}: it stands for all wallets together`);
  if (!(await manager.existsBy(CurrencyEntity, { code: currencyCode })))
    fail({ reason: "CURRENCY_NOT_FOUND", currencyCode });
  const id = systemAccountId(currencyCode, name);
  // Waits for a concurrent transaction that opens the same account.
  const { rowCount } = await client.query(
    `INSERT INTO accounts (id, system_account, currency_code, normal_side, min_balance, max_balance)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
    [id, name, currencyCode, request.normalSide, request.minBalance ?? null, request.maxBalance ?? null],
  );
  if (rowCount === 0) fail({ reason: "ACCOUNT_EXISTS", systemAccount: name, currencyCode });
  const account = await manager.findOneByOrFail(AccountEntity, { id });
  return {
    response: { account: toAccountMessage(account), replayed: false },
    records: [{ id, type: RECORD_TYPE.ACCOUNT_CREATED }],
  };
}

/** So many lines of a currency, and that of all wallets, fit into an answer. */
const TRIAL_BALANCE_LINES_MAX = 10_000;

/** The accounts that each currency has from the start; those of ISO 4217's are made by the first migration. */
const SYSTEM_ACCOUNTS = [
  { systemAccount: "cash", normalSide: NORMAL_SIDE.DEBIT },
  { systemAccount: "fees", normalSide: NORMAL_SIDE.CREDIT },
  { systemAccount: "fx", normalSide: NORMAL_SIDE.CREDIT },
  { systemAccount: "opening", normalSide: NORMAL_SIDE.DEBIT },
] as const;

function toAccountMessage(account: AccountRow): AccountMessage {
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
