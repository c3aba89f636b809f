import { SYSTEM_ACCOUNT } from "../command/system-account.js";
import { NORMAL_SIDE } from "../../base/codes.js";
import { systemAccountId } from "../../base/ids.js";
import type { CurrencyUnit } from "../../base/money.js";
import type { Session } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";

/** The accounts that each currency has from the start; the first migration opens those of the currencies of ISO 4217. */
const SYSTEM_ACCOUNTS = [
  { systemAccount: SYSTEM_ACCOUNT.CASH, normalSide: NORMAL_SIDE.DEBIT },
  { systemAccount: "fees", normalSide: NORMAL_SIDE.CREDIT },
  { systemAccount: SYSTEM_ACCOUNT.FX, normalSide: NORMAL_SIDE.CREDIT },
  { systemAccount: SYSTEM_ACCOUNT.OPENING, normalSide: NORMAL_SIDE.DEBIT },
] as const;

/**
 * Creates a custom currency and opens its system accounts. Waits for a concurrent transaction that creates the same one.
 * @returns false if there is one already
 */
export async function createCurrency(
  { manager, client }: Session,
  { code, exponent, name }: CurrencyUnit & { readonly name: string },
): Promise<boolean> {
  const { rowCount } = await client.query(
    "INSERT INTO currencies (code, exponent, name, custom) VALUES ($1, $2, $3, true) ON CONFLICT DO NOTHING",
    [code, exponent, name],
  );
  if (rowCount === 0) return false;
  const accounts = SYSTEM_ACCOUNTS.map(({ systemAccount, normalSide }) => ({
    id: systemAccountId(code, systemAccount),
    systemAccount,
    normalSide,
    currencyCode: code,
  }));
  await manager.insert(AccountEntity, accounts);
  return true;
}
