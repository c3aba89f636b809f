import { EntrySide, Rounding as RoundingMessage } from "../../../generated/grey/transaction/v1/transaction.js";
import type { Leg as LegMessage, PostTransactionRequest } from "../../../generated/grey/transaction/v1/compound.js";
import type { ExchangeRequest, GetQuoteRequest } from "../../../generated/grey/transaction/v1/exchange.js";
import type { TransactionServiceService } from "../../../generated/grey/transaction/v1/transaction_service.js";
import { In, type EntityManager } from "typeorm";
import { assertPresent } from "../../base/assert.js";
import { fail, invalid, type Failure } from "../../base/failure.js";
import { newId, parseId, systemAccountId, type Uuid } from "../../base/ids.js";
import { AMOUNT_MAX, type CurrencyUnit } from "../../base/money.js";
import { fromMicros, microsDown, microsUp } from "../../base/time.js";
import { readClock } from "../../db/clock.js";
import { readInSession, type Session } from "../../db/in-transaction.js";
import { AccountEntity } from "../../entities/account.js";
import { CurrencyEntity } from "../../entities/currency.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import { convertAt, type Amounts, type GivenAmount, type Rounding } from "../../ledger/decide/exchange.js";
import { findRate } from "../../ledger/currency/find-rate.js";
import type { CompoundCommand, Leg, Terms } from "../../ledger/transaction/transaction.js";
import type { CallContext } from "../../rpc/context.js";
import type { Methods } from "../../rpc/methods.js";
import type { PageTokens } from "../shared/paging.js";
import { postOne, type Posting } from "./post.js";
import { toMoney } from "../shared/messages.js";
import { amountTerms, parsePreconditions, preconditionTerms } from "./terms.js";

type CompoundMethods = Pick<Methods<typeof TransactionServiceService>, "postTransaction" | "exchange" | "getQuote">;

/** A quote lasts this long when nothing else is asked for: 60 s. */
const QUOTE_MICROS_DEFAULT = 60_000_000n;

/** The methods of grey.transaction.v1.TransactionService that make transactions of many legs. */
export function createCompoundMethods(posting: Posting, tokens: PageTokens): CompoundMethods {
  return {
    postTransaction: async (request, context) =>
      (await postOne(posting, context, parsePostTransaction(request, context), request.dryRun)).answer,

    exchange: async (request, context) => {
      const command = await readInSession(posting.database, context, (session) =>
        parseExchange(session, request, context, tokens),
      );
      return (await postOne(posting, context, command, request.dryRun)).answer;
    },

    getQuote: (request, context) =>
      readInSession(posting.database, context, async (session) => {
        const { terms, target } = await quoteTerms(session, request);
        const lasts = request.expiresIn === undefined ? QUOTE_MICROS_DEFAULT : microsUp(request.expiresIn);
        const validUntil = (await readClock(session.client)) + lasts;
        const quoted: Quoted = { ...terms, validUntil: validUntil.toString() };
        const { sourceMinor, targetMinor, rate, rateId } = terms;
        return {
          quote: tokens.seal(quoteScope(context), JSON.stringify(quoted)),
          terms: {
            sourceAmount: toMoney(request.sourceCurrencyCode, BigInt(sourceMinor)),
            targetAmount: toMoney(target.code, BigInt(targetMinor)),
            rate,
            rounding: toRoundingMessage(terms.rounding),
            rateId,
          },
          expireTime: fromMicros(validUntil),
        };
      }),
  };
}

/** What every request for a transaction with many legs has in common; the contract's annotations have checked it. */
function parseCommonFields(
  { caller, requestId }: CallContext,
  request: Pick<
    PostTransactionRequest,
    "description" | "metadata" | "effectiveTime" | "preconditions" | "externalReference"
  >,
) {
  return {
    caller,
    requestId: parseId(requestId),
    transactionId: newId(),
    description: request.description,
    metadata: request.metadata,
    externalReference: request.externalReference,
    effectiveTime: request.effectiveTime === undefined ? null : microsDown(request.effectiveTime),
    preconditions: parsePreconditions(request.preconditions),
  };
}

function parsePostTransaction(request: PostTransactionRequest, context: CallContext): CompoundCommand {
  const system = new Map<Uuid, string>();
  const legs = request.legs.map((leg) => parseLeg(leg, system));
  assertBalanced(legs);
  const first = assertPresent(legs[0], "a leg");
  const debits = legs.filter((leg) => leg.amountMinor > 0n);
  const credit = assertPresent(
    legs.find((leg) => leg.amountMinor < 0n),
    "a credit",
  );
  const asked = parseCommonFields(context, request);
  return {
    ...asked,
    kind: TRANSACTION_KIND.COMPOUND,
    debitAccountId: assertPresent(debits[0], "a debit").accountId,
    creditAccountId: credit.accountId,
    currencyCode: first.currencyCode,
    amountMinor: debits
      .filter((leg) => leg.currencyCode === first.currencyCode)
      .reduce((sum, leg) => sum + leg.amountMinor, 0n),
    legs,
    system,
    refusal: null,
    validUntil: null,
    terms: preconditionTerms(asked.preconditions),
    detail: null,
  };
}

function parseLeg({ account, side, amount }: LegMessage, system: Map<Uuid, string>): Leg {
  const { currencyCode, minorUnits } = assertPresent(amount, "amount");
  const { $case, value } = assertPresent(account, "account");
  const accountId = $case === "walletId" ? parseId(value) : systemAccountId(currencyCode, value);
  if ($case === "systemAccount") system.set(accountId, value);
  return { accountId, currencyCode, amountMinor: side === EntrySide.DEBIT ? minorUnits : -minorUnits };
}

/** In each currency the debits equal the credits, and stay within int64. */
function assertBalanced(legs: readonly Leg[]): void {
  const sums = new Map<string, { debits: bigint; credits: bigint }>();
  for (const { currencyCode, amountMinor } of legs) {
    const sum = sums.get(currencyCode) ?? { debits: 0n, credits: 0n };
    sums.set(currencyCode, sum);
    if (amountMinor > 0n) sum.debits += amountMinor;
    else sum.credits -= amountMinor;
  }
  for (const [currencyCode, { debits, credits }] of sums) {
    if (debits !== credits)
      invalid("legs", `must sum to zero in ${currencyCode}: debits are ${debits}, credits ${credits} minor units`);
    if (debits > AMOUNT_MAX) invalid("legs", `must sum to no more than int64 holds in ${currencyCode}`);
  }
}

/** Both amounts of an exchange and what they follow from, as a quote keeps them: decimal strings. */
interface ExchangeDetail {
  readonly sourceCurrencyCode: string;
  readonly targetCurrencyCode: string;
  readonly sourceMinor: string;
  readonly targetMinor: string;
  /** Empty when both amounts were given. */
  readonly rate: string;
  readonly rounding: Rounding | "";
  /** Empty when the rate was given. */
  readonly rateId: string;
}

interface Quoted extends ExchangeDetail {
  /** Microseconds since 1970. */
  readonly validUntil: string;
}

function quoteScope({ caller }: CallContext): readonly unknown[] {
  return ["Quote", caller];
}

async function quoteTerms(session: Session, request: GetQuoteRequest) {
  const { sourceCurrencyCode, targetCurrencyCode } = request;
  if (sourceCurrencyCode === targetCurrencyCode)
    invalid("target_currency_code", "must differ from source_currency_code");
  const units = await findCurrencies(session.manager, [sourceCurrencyCode, targetCurrencyCode]);
  const unitOf = (code: string): CurrencyUnit =>
    units.get(code) ?? fail({ reason: "CURRENCY_NOT_FOUND", currencyCode: code });
  const source = unitOf(sourceCurrencyCode);
  const target = unitOf(targetCurrencyCode);
  const amount = assertPresent(request.amount, "amount");
  const given = amount.$case === "sourceMinorUnits" ? { sourceMinor: amount.value } : { targetMinor: amount.value };
  const terms = await applyRate(session, { source, target, given, rate: undefined, rounding: parseRounding(request) });
  return "failure" in terms ? fail(terms.failure) : { terms, target };
}

/**
 * The exchange that was asked for. What cannot be worked out is a refusal of the command's own, so that it is kept, and a
 * request that was answered before gets its answer.
 */
async function parseExchange(
  session: Session,
  request: ExchangeRequest,
  context: CallContext,
  tokens: PageTokens,
): Promise<CompoundCommand> {
  const fromId = parseId(request.fromWalletId);
  const toId = parseId(request.toWalletId);
  const asked = parseCommonFields(context, request);
  const quoted = request.by?.$case === "quote" ? openQuote(tokens, context, request.by.value) : undefined;
  const worked = await workOutTerms(session, request, fromId, toId, quoted);
  const terms = "failure" in worked ? undefined : worked;
  const { sourceAmount, targetAmount } = request;
  const known = terms ?? {
    sourceCurrencyCode: sourceAmount?.currencyCode ?? targetAmount?.currencyCode ?? quoted?.sourceCurrencyCode ?? "",
    sourceMinor: (sourceAmount?.minorUnits ?? 0n).toString(),
  };
  const system = new Map<Uuid, string>();
  const named = {
    ...asked,
    kind: TRANSACTION_KIND.EXCHANGE,
    debitAccountId: fromId,
    creditAccountId: toId,
    currencyCode: known.sourceCurrencyCode,
    amountMinor: BigInt(known.sourceMinor),
    system,
    validUntil: quoted === undefined ? null : BigInt(quoted.validUntil),
    terms: {
      from_wallet_id: fromId,
      to_wallet_id: toId,
      ...(sourceAmount !== undefined && prefixed("source_amount", amountTerms(sourceAmount))),
      ...(targetAmount !== undefined && prefixed("target_amount", amountTerms(targetAmount))),
      ...(request.by !== undefined && { [request.by.$case]: request.by.value }),
      ...(parseRounding(request) !== "HALF_EVEN" && { rounding: `${request.rounding}` }),
      ...preconditionTerms(asked.preconditions),
    },
  };
  if (terms === undefined)
    return { ...named, legs: [], detail: null, refusal: "failure" in worked ? worked.failure : null };
  const { sourceCurrencyCode, targetCurrencyCode } = terms;
  const sourceFxId = systemAccountId(sourceCurrencyCode, "fx");
  const targetFxId = systemAccountId(targetCurrencyCode, "fx");
  system.set(sourceFxId, "fx").set(targetFxId, "fx");
  const sourceMinor = BigInt(terms.sourceMinor);
  const targetMinor = BigInt(terms.targetMinor);
  return {
    ...named,
    legs: [
      { accountId: fromId, currencyCode: sourceCurrencyCode, amountMinor: sourceMinor },
      { accountId: sourceFxId, currencyCode: sourceCurrencyCode, amountMinor: -sourceMinor },
      { accountId: targetFxId, currencyCode: targetCurrencyCode, amountMinor: targetMinor },
      { accountId: toId, currencyCode: targetCurrencyCode, amountMinor: -targetMinor },
    ],
    detail: {
      target_currency_code: targetCurrencyCode,
      target_minor_units: terms.targetMinor,
      ...(terms.rate !== "" && { rate: terms.rate, rounding: terms.rounding }),
      ...(terms.rateId !== "" && { rate_id: terms.rateId }),
    },
    refusal: null,
  };
}

function prefixed(prefix: string, terms: Terms): Terms {
  return Object.fromEntries(Object.entries(terms).map(([name, value]) => [name.replace("amount", prefix), value]));
}

/** A quote of this service for this caller. Fails: QUOTE_INVALID. */
function openQuote(tokens: PageTokens, context: CallContext, quote: string): Quoted {
  const text = tokens.unseal(quoteScope(context), quote);
  return text === undefined ? fail({ reason: "QUOTE_INVALID" }) : (JSON.parse(text) as Quoted);
}

/** Both amounts of the exchange, or why there are none. */
async function workOutTerms(
  session: Session,
  request: ExchangeRequest,
  fromId: Uuid,
  toId: Uuid,
  quoted: Quoted | undefined,
): Promise<ExchangeDetail | { readonly failure: Failure }> {
  if (fromId === toId) return { failure: { reason: "SAME_WALLET", walletId: fromId } };
  const currencies = await findWalletCurrencies(session.manager, [fromId, toId]);
  const source = currencies.get(fromId);
  if (source === undefined) return { failure: { reason: "WALLET_NOT_FOUND", walletId: fromId } };
  const target = currencies.get(toId);
  if (target === undefined) return { failure: { reason: "WALLET_NOT_FOUND", walletId: toId } };
  if (source.code === target.code) return { failure: { reason: "SAME_CURRENCY", currencyCode: source.code } };
  const { sourceAmount, targetAmount, by } = request;
  const mismatch =
    checkCurrency(fromId, source, quoted?.sourceCurrencyCode ?? sourceAmount?.currencyCode) ??
    checkCurrency(toId, target, quoted?.targetCurrencyCode ?? targetAmount?.currencyCode);
  if (mismatch !== undefined) return { failure: mismatch };
  if (quoted !== undefined) return quoted;
  const named = { sourceCurrencyCode: source.code, targetCurrencyCode: target.code };
  if (sourceAmount !== undefined && targetAmount !== undefined) {
    const amounts = { sourceMinor: sourceAmount.minorUnits, targetMinor: targetAmount.minorUnits };
    return { ...named, ...toText(amounts), rate: "", rounding: "", rateId: "" };
  }
  const given: GivenAmount =
    sourceAmount === undefined
      ? { targetMinor: assertPresent(targetAmount, "an amount").minorUnits }
      : { sourceMinor: sourceAmount.minorUnits };
  const rate = by?.$case === "rate" ? by.value : undefined;
  return applyRate(session, { source, target, given, rate, rounding: parseRounding(request) });
}

/** The amount that is not given, by the given rate or else by the one of the table that is valid now. */
async function applyRate(
  { client }: Session,
  asked: {
    readonly source: CurrencyUnit;
    readonly target: CurrencyUnit;
    readonly given: GivenAmount;
    readonly rate: string | undefined;
    readonly rounding: Rounding;
  },
): Promise<ExchangeDetail | { readonly failure: Failure }> {
  const { source, target, given, rounding } = asked;
  const named = { sourceCurrencyCode: source.code, targetCurrencyCode: target.code };
  const ofTable = asked.rate === undefined ? await findRate(client, source.code, target.code, null) : undefined;
  const rate = asked.rate ?? ofTable?.rate;
  if (rate === undefined) return { failure: { reason: "RATE_NOT_FOUND", ...named } };
  const amounts = convertAt(rate, given, source, target, rounding);
  if (amounts === undefined) return { failure: { reason: "EXCHANGE_AMOUNT_INVALID", ...named, rate } };
  return { ...named, ...toText(amounts), rate, rounding, rateId: ofTable?.id ?? "" };
}

function toText({ sourceMinor, targetMinor }: Amounts) {
  return { sourceMinor: sourceMinor.toString(), targetMinor: targetMinor.toString() };
}

function checkCurrency(walletId: Uuid, { code }: CurrencyUnit, asked: string | undefined): Failure | undefined {
  return asked === undefined || asked === code
    ? undefined
    : { reason: "CURRENCY_MISMATCH", walletId, walletCurrencyCode: code, amountCurrencyCode: asked };
}

/** The currencies of those of the accounts that are wallets. */
async function findWalletCurrencies(manager: EntityManager, ids: readonly Uuid[]): Promise<Map<Uuid, CurrencyUnit>> {
  const accounts = await manager.findBy(AccountEntity, { id: In(ids) });
  const wallets = accounts.filter((account) => account.systemAccount === null);
  const units = await findCurrencies(
    manager,
    wallets.map((account) => account.currencyCode),
  );
  return new Map(wallets.map(({ id, currencyCode }) => [id, assertPresent(units.get(currencyCode), "a currency")]));
}

async function findCurrencies(manager: EntityManager, codes: readonly string[]): Promise<Map<string, CurrencyUnit>> {
  const currencies = await manager.findBy(CurrencyEntity, { code: In(codes) });
  return new Map(currencies.map((currency) => [currency.code, currency]));
}

const ROUNDING_OF: ReadonlyMap<RoundingMessage, Rounding> = new Map([
  [RoundingMessage.UNSPECIFIED, "HALF_EVEN"],
  [RoundingMessage.HALF_EVEN, "HALF_EVEN"],
  [RoundingMessage.HALF_UP, "HALF_UP"],
  [RoundingMessage.DOWN, "DOWN"],
  [RoundingMessage.UP, "UP"],
]);

function parseRounding({ rounding }: { readonly rounding: RoundingMessage }): Rounding {
  return assertPresent(ROUNDING_OF.get(rounding), "a rounding");
}

function toRoundingMessage(rounding: Rounding | ""): RoundingMessage {
  return rounding === "" ? RoundingMessage.UNSPECIFIED : RoundingMessage[rounding];
}
