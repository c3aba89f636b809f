import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { toIso } from "../../base/time.js";
import type { Exchange, ExchangeCommand, Leg } from "../command/command.js";
import { fxAccountId, SYSTEM_ACCOUNT } from "../command/system-account.js";
import type { Movement, RecordedDecision } from "./decision.js";
import { checkLegAccounts, decideLegs } from "./legs.js";
import type { LedgerState } from "./state.js";

/**
 * Decides an exchange and, when it is posted, changes the accounts.
 *
 * The first broken rule of this order is the failure: that its amounts could be worked out; that its quote has not
 * expired; leg by leg, that the account exists; then as postLegs().
 */
export function decideExchange(state: LedgerState, command: ExchangeCommand): RecordedDecision {
  const { kind, fromWalletId, toWalletId, exchange, validUntil, effectiveTime } = command;
  const sides = { kind, debitAccountId: fromWalletId, creditAccountId: toWalletId, effectiveTime };
  if ("refusal" in exchange)
    return { movement: { ...sides, ...exchange.source, legs: [], exchange: null }, failure: exchange.refusal };
  const legs = toLegs(fromWalletId, toWalletId, exchange);
  const movement: Movement = { ...sides, ...exchange.source, legs, exchange };
  const failure = checkQuote(state, validUntil) ?? checkLegAccounts(state, legs, toSystemAccounts(exchange));
  return failure === undefined ? decideLegs(state, movement, legs) : { movement, failure };
}

function checkQuote({ now }: LedgerState, validUntil: bigint | null): Failure | undefined {
  if (validUntil === null || now < validUntil) return undefined;
  return { reason: "QUOTE_EXPIRED", expireTime: toIso(validUntil) };
}

/** Returns the legs of an exchange: each currency is moved between its wallet and its `fx` account. */
function toLegs(fromWalletId: Uuid, toWalletId: Uuid, { source, target }: Exchange): readonly Leg[] {
  return [
    { accountId: fromWalletId, currencyCode: source.currencyCode, amountMinor: source.amountMinor },
    {
      accountId: fxAccountId(source.currencyCode),
      currencyCode: source.currencyCode,
      amountMinor: -source.amountMinor,
    },
    { accountId: fxAccountId(target.currencyCode), currencyCode: target.currencyCode, amountMinor: target.amountMinor },
    { accountId: toWalletId, currencyCode: target.currencyCode, amountMinor: -target.amountMinor },
  ];
}

function toSystemAccounts({ source, target }: Exchange): ReadonlyMap<Uuid, string> {
  return new Map([source, target].map(({ currencyCode }) => [fxAccountId(currencyCode), SYSTEM_ACCOUNT.FX]));
}
