import { type CurrencyUnit, formatAmount, parseAmount } from "../base/money.js";
import type { Money } from "../../generated/grey/type/v1/money.js";
import { UsageError } from "./failure.js";
import { NO_NEGATIVE } from "./options.js";

/** The currencies of a server, by code. */
export type Currencies = ReadonlyMap<string, CurrencyUnit>;

/**
 * The amount that was typed: `12.34 USD`, or only `12.34` where the currency is known already.
 * @throws UsageError when it is not exactly an amount of that currency; nothing is rounded
 */
export function readMoney(text: string, currencies: Currencies, currencyCode?: string): Money {
  const [number = "", code = currencyCode, ...rest] = text.trim().split(/\s+/);
  if (code === undefined || rest.length > 0) {
    throw new UsageError(`amount "${text}": must be a number and a currency, such as 12.34 USD`);
  }
  const currency = currencies.get(code.toUpperCase());
  if (currency === undefined)
    throw new UsageError(`amount "${text}": the server has no currency ${code.toUpperCase()}`);
  const minorUnits = parseAmount(number, currency);
  if (typeof minorUnits !== "bigint") throw new UsageError(`amount "${text}": ${minorUnits.rule}`);
  return { currencyCode: currency.code, minorUnits };
}

/**
 * The amount to move that was typed, as readMoney() reads it.
 * @throws UsageError also when it is not more than 0
 */
export function readMoved(text: string, currencies: Currencies): Money {
  const money = readMoney(text, currencies);
  if (money.minorUnits < 0n) throw new UsageError(`amount "${text}": is below 0. ${NO_NEGATIVE}`);
  if (money.minorUnits === 0n) throw new UsageError(`amount "${text}": must be more than 0`);
  return money;
}

/**
 * The minor units that were typed of an amount that has to be in this currency: `12.34`, or `12.34 USD`.
 * @throws UsageError when it is in another one, or no amount
 */
export function readMinorUnits(text: string, currencies: Currencies, currencyCode: string): bigint {
  const money = readMoney(text, currencies, currencyCode);
  if (money.currencyCode !== currencyCode) throw new UsageError(`amount "${text}": must be in ${currencyCode}`);
  return money.minorUnits;
}

/** The amount for people; of a currency that the server did not list, in minor units. */
export function showAmount(minorUnits: bigint, currencyCode: string, currencies: Currencies): string {
  const currency = currencies.get(currencyCode);
  return currency ? formatAmount(minorUnits, currency) : `${minorUnits} minor units of ${currencyCode}`;
}

/** As showAmount(); empty when there is none. */
export function showMoney(money: Money | undefined, currencies: Currencies): string {
  return money ? showAmount(money.minorUnits, money.currencyCode, currencies) : "";
}
