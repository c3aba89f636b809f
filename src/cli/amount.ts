import { type CurrencyUnit, formatAmount, parseAmount } from "../base/money.js";
import type { Money } from "../../generated/grey/type/v1/money.js";
import { UsageError } from "./failure.js";
import { POSITIVE_AMOUNTS_ONLY } from "./options.js";

/** The currencies of a server, by code. */
export type Currencies = ReadonlyMap<string, CurrencyUnit>;

/**
 * Parses an amount: `12.34 USD`, or `12.34` where the currency is known.
 * @throws UsageError unless it is exactly an amount of that currency; nothing is rounded
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
 * Parses an amount to move, as readMoney() does.
 * @throws UsageError also unless it is more than 0
 */
export function readPositiveMoney(text: string, currencies: Currencies): Money {
  const money = readMoney(text, currencies);
  if (money.minorUnits < 0n) throw new UsageError(`amount "${text}": is negative. ${POSITIVE_AMOUNTS_ONLY}`);
  if (money.minorUnits === 0n) throw new UsageError(`amount "${text}": must be more than 0`);
  return money;
}

/**
 * Parses an amount in this currency, `12.34` or `12.34 USD`, to minor units.
 * @throws UsageError when it is malformed or in another currency
 */
export function readMinorUnits(text: string, currencies: Currencies, currencyCode: string): bigint {
  const money = readMoney(text, currencies, currencyCode);
  if (money.currencyCode !== currencyCode) throw new UsageError(`amount "${text}": must be in ${currencyCode}`);
  return money.minorUnits;
}

/** Formats an amount as a decimal; in minor units if the server did not list its currency. */
export function showAmount(minorUnits: bigint, currencyCode: string, currencies: Currencies): string {
  const currency = currencies.get(currencyCode);
  return currency ? formatAmount(minorUnits, currency) : `${minorUnits} minor units of ${currencyCode}`;
}

/** Formats money as showAmount() does; empty when undefined. */
export function showMoney(money: Money | undefined, currencies: Currencies): string {
  return money ? showAmount(money.minorUnits, money.currencyCode, currencies) : "";
}
