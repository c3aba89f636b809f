import { Rounding as RoundingMessage } from "../../../generated/grey/transaction/v1/transaction.js";
import type { ExchangeRequest, GetQuoteRequest } from "../../../generated/grey/transaction/v1/exchange.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { In, type EntityManager } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid, type Failure } from "../../base/failure.js";
import { parseId, type Uuid } from "../../base/ids.js";
import type { CurrencyUnit } from "../../base/money.js";
import { fromMicros, microsDown, microsUp, type Micros } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { CurrencyEntity } from "../../entities/currency.js";
import type { Exchange, ExchangeCommand, Rounding } from "../../ledger/command/command.js";
import { findRate } from "../../ledger/currency/find-rate.js";
import { convertAt, type GivenAmount } from "../../ledger/currency/convert.js";
import { decodeExchange, encodeExchange } from "../../ledger/transaction/exchange-detail.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import { toExchangeTerms } from "../shared/messages.js";
import type { PageTokens } from "../shared/page-tokens.js";
import { postOne, type PostingParts } from "./post.js";
import { amountTerms, parseAmount, parseCommandFields, preconditionTerms } from "./request-terms.js";

/** The default lifetime of a quote: 60 s. */
const QUOTE_MICROS_DEFAULT = 60_000_000n;

/** Creates the methods of grey.transaction.v1.TransactionService that exchange currencies: Exchange and GetQuote. */
export function createExchangeMethods(
  posting: PostingParts,
  tokens: PageTokens,
): Pick<Methods<typeof TransactionServiceService>, "exchange" | "getQuote"> {
  return {
    exchange: async (request, context) => {
      const command = await readInSession(posting.database, context, (session) =>
        parseExchange(session, request, context, tokens),
      );
      return (await postOne(posting, context, command, request.dryRun)).answer;
    },

    getQuote: (request, context) =>
      readInSession(posting.database, context, async (session) => {
        const exchange = await quote(session, request);
        const lifetime = request.expiresIn === undefined ? QUOTE_MICROS_DEFAULT : microsUp(request.expiresIn);
        const validUntil = (await readClock(session.client)) + lifetime;
        return {
          quote: tokens.seal(quoteScope(context), encodeQuote({ exchange, validUntil })),
          terms: toExchangeTerms(exchange),
          expireTime: fromMicros(validUntil),
        };
      }),
  };
}

/** An exchange that can be posted at its terms for a time. */
interface Quote {
  readonly exchange: Exchange;
  readonly validUntil: Micros;
}

function encodeQuote({ exchange, validUntil }: Quote): string {
  const { currencyCode, amountMinor } = exchange.source;
  return JSON.stringify([currencyCode, amountMinor.toString(), encodeExchange(exchange), validUntil.toString()]);
}

/** Opens a quote that this ledger has sealed for this caller. Fails: QUOTE_INVALID. */
function openQuote(tokens: PageTokens, context: CallContext, text: string): Quote {
  const json = tokens.unseal(quoteScope(context), text) ?? fail({ reason: "QUOTE_INVALID" });
  const [currencyCode, amountMinor, exchange, validUntil] = JSON.parse(json) as [string, string, string, string];
  return {
    exchange: decodeExchange(exchange, { currencyCode, amountMinor: BigInt(amountMinor) }),
    validUntil: BigInt(validUntil),
  };
}

function quoteScope({ caller }: CallContext): readonly unknown[] {
  return ["Quote", caller];
}

/** Works out the exchange of a quote. Fails: CURRENCY_NOT_FOUND, RATE_NOT_FOUND, EXCHANGE_AMOUNT_INVALID. */
async function quote(session: Session, request: GetQuoteRequest): Promise<Exchange> {
  const { sourceCurrencyCode, targetCurrencyCode } = request;
  if (sourceCurrencyCode === targetCurrencyCode)
    invalid("target_currency_code", "must differ from source_currency_code");
  const currencies = await findCurrencies(session.manager, [sourceCurrencyCode, targetCurrencyCode]);
  const requireCurrency = (code: string): CurrencyUnit =>
    currencies.get(code) ?? fail({ reason: "CURRENCY_NOT_FOUND", currencyCode: code });
  const source = requireCurrency(sourceCurrencyCode);
  const target = requireCurrency(targetCurrencyCode);
  const amount = assertPresent(request.amount, "amount");
  const given = amount.$case === "sourceMinorUnits" ? { sourceMinor: amount.value } : { targetMinor: amount.value };
  const exchange = await convert(session, { source, target, given, rate: undefined, rounding: parseRounding(request) });
  return "failure" in exchange ? fail(exchange.failure) : exchange;
}

/**
 * Parses a request for an exchange. What cannot be worked out becomes a refusal of the command, so that it is recorded, and a
 * repeated request gets its answer.
 */
async function parseExchange(
  session: Session,
  request: ExchangeRequest,
  context: CallContext,
  tokens: PageTokens,
): Promise<ExchangeCommand> {
  const fromWalletId = parseId(request.fromWalletId);
  const toWalletId = parseId(request.toWalletId);
  const fields = parseCommandFields(context, request);
  const quoted = request.by?.$case === "quote" ? openQuote(tokens, context, request.by.value) : undefined;
  const exchange = await workOut(session, request, fromWalletId, toWalletId, quoted?.exchange);
  const { sourceAmount, targetAmount } = request;
  return {
    ...fields,
    kind: "EXCHANGE",
    fromWalletId,
    toWalletId,
    exchange:
      "failure" in exchange
        ? {
            refusal: exchange.failure,
            source: {
              currencyCode:
                sourceAmount?.currencyCode ?? targetAmount?.currencyCode ?? quoted?.exchange.source.currencyCode ?? "",
              amountMinor: sourceAmount?.minorUnits ?? 0n,
            },
          }
        : exchange,
    validUntil: quoted?.validUntil ?? null,
    effectiveTime: request.effectiveTime === undefined ? null : microsDown(request.effectiveTime),
    requestTerms: {
      from_wallet_id: fromWalletId,
      to_wallet_id: toWalletId,
      ...(sourceAmount !== undefined && amountTerms(sourceAmount, "source_amount")),
      ...(targetAmount !== undefined && amountTerms(targetAmount, "target_amount")),
      ...(request.by !== undefined && { [request.by.$case]: request.by.value }),
      ...(parseRounding(request) !== "HALF_EVEN" && { rounding: `${request.rounding}` }),
      ...preconditionTerms(fields.preconditions),
    },
  };
}

/** An exchange, or the rule that it breaks. */
type WorkedOut = Exchange | { readonly failure: Failure };

/** Works out both amounts of the exchange. */
async function workOut(
  session: Session,
  request: ExchangeRequest,
  fromId: Uuid,
  toId: Uuid,
  quoted: Exchange | undefined,
): Promise<WorkedOut> {
  if (fromId === toId) return { failure: { reason: "SAME_WALLET", walletId: fromId } };
  const currencies = await findWalletCurrencies(session.manager, [fromId, toId]);
  const source = currencies.get(fromId);
  if (source === undefined) return { failure: { reason: "WALLET_NOT_FOUND", walletId: fromId } };
  const target = currencies.get(toId);
  if (target === undefined) return { failure: { reason: "WALLET_NOT_FOUND", walletId: toId } };
  if (source.code === target.code) return { failure: { reason: "SAME_CURRENCY", currencyCode: source.code } };
  const { sourceAmount, targetAmount, by } = request;
  const mismatch =
    checkCurrency(fromId, source, quoted?.source.currencyCode ?? sourceAmount?.currencyCode) ??
    checkCurrency(toId, target, quoted?.target.currencyCode ?? targetAmount?.currencyCode);
  if (mismatch !== undefined) return { failure: mismatch };
  if (quoted !== undefined) return quoted;
  if (sourceAmount !== undefined && targetAmount !== undefined) {
    const amounts = { source: parseAmount(sourceAmount), target: parseAmount(targetAmount) };
    return { ...amounts, rate: null, rounding: null, rateId: null };
  }
  const given: GivenAmount =
    sourceAmount === undefined
      ? { targetMinor: assertPresent(targetAmount, "an amount").minorUnits }
      : { sourceMinor: sourceAmount.minorUnits };
  const rate = by?.$case === "rate" ? by.value : undefined;
  return convert(session, { source, target, given, rate, rounding: parseRounding(request) });
}

/** Works out the other amount, by the rate of the terms or else by the current rate of the table. */
async function convert(
  { client }: Session,
  terms: {
    readonly source: CurrencyUnit;
    readonly target: CurrencyUnit;
    readonly given: GivenAmount;
    readonly rate: string | undefined;
    readonly rounding: Rounding;
  },
): Promise<WorkedOut> {
  const { source, target, given, rounding } = terms;
  const codes = { sourceCurrencyCode: source.code, targetCurrencyCode: target.code };
  const found = terms.rate === undefined ? await findRate(client, source.code, target.code, null) : undefined;
  const rate = terms.rate ?? found?.rate;
  if (rate === undefined) return { failure: { reason: "RATE_NOT_FOUND", ...codes } };
  const amounts = convertAt(rate, given, source, target, rounding);
  if (amounts === undefined) return { failure: { reason: "EXCHANGE_AMOUNT_INVALID", ...codes, rate } };
  return {
    source: { currencyCode: source.code, amountMinor: amounts.sourceMinor },
    target: { currencyCode: target.code, amountMinor: amounts.targetMinor },
    rate,
    rounding,
    rateId: found?.id ?? null,
  };
}

function checkCurrency(walletId: Uuid, { code }: CurrencyUnit, amountCode: string | undefined): Failure | undefined {
  return amountCode === undefined || amountCode === code
    ? undefined
    : { reason: "CURRENCY_MISMATCH", walletId, walletCurrencyCode: code, amountCurrencyCode: amountCode };
}

/** Finds the currencies of those of the accounts that are wallets. */
async function findWalletCurrencies(manager: EntityManager, ids: readonly Uuid[]): Promise<Map<Uuid, CurrencyUnit>> {
  const accounts = await manager.findBy(AccountEntity, { id: In(ids) });
  const wallets = accounts.filter((account) => account.systemAccount === null);
  const currencies = await findCurrencies(
    manager,
    wallets.map((account) => account.currencyCode),
  );
  return new Map(
    wallets.map(({ id, currencyCode }) => [id, assertPresent(currencies.get(currencyCode), "a currency")]),
  );
}

async function findCurrencies(manager: EntityManager, codes: readonly string[]): Promise<Map<string, CurrencyUnit>> {
  const currencies = await manager.findBy(CurrencyEntity, { code: In(codes) });
  return new Map(currencies.map((currency) => [currency.code, currency]));
}

const ROUNDINGS: ReadonlyMap<RoundingMessage, Rounding> = new Map([
  [RoundingMessage.UNSPECIFIED, "HALF_EVEN"],
  [RoundingMessage.HALF_EVEN, "HALF_EVEN"],
  [RoundingMessage.HALF_UP, "HALF_UP"],
  [RoundingMessage.DOWN, "DOWN"],
  [RoundingMessage.UP, "UP"],
]);

function parseRounding({ rounding }: { readonly rounding: RoundingMessage }): Rounding {
  return assertPresent(ROUNDINGS.get(rounding), "a rounding");
}
