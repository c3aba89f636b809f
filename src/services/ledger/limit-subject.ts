import { IsNull, Not, type EntityManager } from "typeorm";
import type { GetLimitsRequest, ListLimitChangesRequest } from "../../../generated/grey/ledger/v1/limits.js";
import { assertPresent } from "../../base/assert.js";
import { fail, type Failure } from "../../base/failure.js";
import { parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { AccountEntity } from "../../entities/account.js";
import { CurrencyEntity } from "../../entities/currency.js";
import type { Account } from "../../ledger/account/account.js";

/** The account whose limits a request names. */
type Named = NonNullable<GetLimitsRequest["account"]>;
/** An account, or the default limits of a currency. */
type Subject = NonNullable<ListLimitChangesRequest["of"]>;

export function parseAccountId(named: GetLimitsRequest["account"]): Uuid {
  return toSubjectId(assertPresent(named, "account"));
}

export function toSubjectId(of: Named | Subject): Uuid {
  switch (of.$case) {
    case "walletId":
      return parseId(of.value);
    case "systemAccount":
      return systemAccountId(of.value.currencyCode, of.value.name);
    case "defaultsOfCurrencyCode":
      return defaultsSubject(of.value);
  }
}

/** Returns the id that stands for the new wallets of a currency. No account has it: no name of an account contains a space. */
export function defaultsSubject(currencyCode: string): Uuid {
  return systemAccountId(currencyCode, "new wallets");
}

/** Reports whether there is such a wallet, system account or currency. */
export async function subjectExists(manager: EntityManager, of: Subject): Promise<boolean> {
  if (of.$case === "defaultsOfCurrencyCode") return manager.existsBy(CurrencyEntity, { code: of.value });
  const isWallet = of.$case === "walletId";
  return manager.existsBy(AccountEntity, { id: toSubjectId(of), systemAccount: isWallet ? IsNull() : Not(IsNull()) });
}

export function toNotFound(of: Named | Subject): Failure {
  switch (of.$case) {
    case "walletId":
      return { reason: "WALLET_NOT_FOUND", walletId: parseId(of.value) };
    case "systemAccount":
      return { reason: "ACCOUNT_NOT_FOUND", systemAccount: of.value.name, currencyCode: of.value.currencyCode };
    case "defaultsOfCurrencyCode":
      return { reason: "CURRENCY_NOT_FOUND", currencyCode: of.value };
  }
}

/** Returns the account if it is of the named sort. Fails: WALLET_NOT_FOUND, ACCOUNT_NOT_FOUND. */
export function assertNamed(named: GetLimitsRequest["account"], account: Account | undefined): Account {
  const of = assertPresent(named, "account");
  if (account === undefined || account.isWallet !== (of.$case === "walletId")) return fail(toNotFound(of));
  return account;
}
