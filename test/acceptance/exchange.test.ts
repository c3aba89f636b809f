import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { Rounding, TransactionKind, TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import { ExchangeRequest, GetQuoteRequest } from "../../generated/grey/transaction/v1/exchange.js";
import { ReverseRequest } from "../../generated/grey/transaction/v1/reversal.js";
import { SetRateRequest } from "../../generated/grey/ledger/v1/rate.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { makeWallet, money, openAdmin } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

/** Exchanges, rates and quotes, as a client has them. */
describe("an exchange", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    grey.close();
    await server.stop();
    expect(faults).to.deep.equal([]);
  });

  const wallet = async (currencyCode: string, minorUnits = 0n) =>
    (await makeWallet(grey, { minorUnits, currencyCode })).id;
  const request = (fromWalletId: string, toWalletId: string, over: Partial<ExchangeRequest>): ExchangeRequest => ({
    ...ExchangeRequest.fromPartial({ requestId: randomUUID(), fromWalletId, toWalletId }),
    ...over,
  });
  const exchange = (from: string, to: string, over: Partial<ExchangeRequest>) =>
    grey.transactions.exchange(request(from, to, over));
  const byRate = (value: string) => ({ by: { $case: "rate", value } }) as const;
  const fx = async (currencyCode: string) =>
    (await grey.ledger.getAccount({ by: { $case: "systemAccount", value: { name: "fx", currencyCode } } })).account!
      .balance!.minorUnits;
  const setRate = (source: string, target: string, rate: string, over: Partial<SetRateRequest> = {}) =>
    grey.ledger.setRate({
      ...SetRateRequest.fromPartial({ requestId: randomUUID() }),
      sourceCurrencyCode: source,
      targetCurrencyCode: target,
      rate,
      ...over,
    });

  it("goes through the fx accounts, and records the rate as given and the amounts as applied", async () => {
    const [dollars, euros] = [await wallet("USD", 10_000n), await wallet("EUR")];
    const before = [await fx("USD"), await fx("EUR")];
    const asked = request(dollars, euros, { sourceAmount: money(1_000n), ...byRate("0.92345") });
    const answer = await grey.transactions.exchange(asked);
    expect(answer.transaction).to.deep.include({
      kind: TransactionKind.EXCHANGE,
      amount: money(1_000n),
      debitAccountId: dollars,
      creditAccountId: euros,
      exchange: {
        sourceAmount: money(1_000n),
        targetAmount: money(923n, "EUR"),
        rate: "0.92345",
        rounding: Rounding.HALF_EVEN,
        rateId: "",
      },
    });
    expect(answer.transaction!.entries.map((one) => one.amount)).to.deep.equal([
      money(1_000n),
      money(1_000n),
      money(923n, "EUR"),
      money(923n, "EUR"),
    ]);
    expect(answer.balances.map((one) => one.posted)).to.deep.equal([money(9_000n), money(923n, "EUR")]);
    expect([await fx("USD"), await fx("EUR")]).to.deep.equal([before[0]! + 1_000n, before[1]! - 923n]);
    expect(await grey.transactions.exchange(asked)).to.deep.equal({ ...answer, replayed: true });
    for (const [fields, over] of [
      ["rate", byRate("0.92")],
      ["rounding", { rounding: Rounding.UP }],
      ["source_amount.minor_units", { sourceAmount: money(1_001n) }],
    ] as const) {
      const error = await refusal(grey.transactions.exchange({ ...asked, ...over }));
      expect([error.reason, error.info.differs]).to.deep.equal(["REQUEST_ID_REUSED", fields]);
    }
  });

  for (const [rounding, target] of [
    [Rounding.HALF_EVEN, 2n],
    [Rounding.HALF_UP, 3n],
    [Rounding.DOWN, 2n],
    [Rounding.UP, 3n],
  ] as const) {
    it(`rounds 2.5 minor units to ${target} by ${Rounding[rounding]}`, async () => {
      const [dollars, euros] = [await wallet("USD", 10n), await wallet("EUR")];
      const { balances } = await exchange(dollars, euros, { sourceAmount: money(5n), ...byRate("0.5"), rounding });
      expect(balances[1]!.posted).to.deep.equal(money(target, "EUR"));
    });
  }

  it("minds how many decimal places the currencies have, either way round", async () => {
    const [dollars, yen, dinars] = [await wallet("USD", 100_000n), await wallet("JPY"), await wallet("KWD")];
    const toYen = await exchange(dollars, yen, { sourceAmount: money(1_000n), ...byRate("155.5") });
    expect(toYen.balances[1]!.posted).to.deep.equal(money(1_555n, "JPY"));
    const toDinars = await exchange(dollars, dinars, { targetAmount: money(1_000n, "KWD"), ...byRate("0.307") });
    expect(toDinars.transaction!.amount).to.deep.equal(money(326n));
    expect(toDinars.balances[1]!.posted).to.deep.equal(money(1_000n, "KWD"));
  });

  it("takes both amounts instead of a rate", async () => {
    const [dollars, euros] = [await wallet("USD", 100n), await wallet("EUR")];
    const { transaction } = await exchange(dollars, euros, {
      sourceAmount: money(10n),
      targetAmount: money(9n, "EUR"),
    });
    expect(transaction!.exchange).to.deep.include({ rate: "", rounding: Rounding.UNSPECIFIED, rateId: "" });
    expect(transaction!.exchange!.targetAmount).to.deep.equal(money(9n, "EUR"));
  });

  it("goes by the rate of the table that is valid now; later ones take its place, and the history stays", async () => {
    const [francs, euros] = [await wallet("CHF", 1_000n), await wallet("EUR")];
    const missing = await refusal(exchange(francs, euros, { sourceAmount: money(100n, "CHF") }));
    expect(missing).to.include({ code: "NOT_FOUND", reason: "RATE_NOT_FOUND" });
    expect(missing.info.transaction_id).to.be.a("string");
    const first = await setRate("CHF", "EUR", "1.06");
    const one = await exchange(francs, euros, { sourceAmount: money(100n, "CHF") });
    expect(one.transaction!.exchange).to.deep.include({ rate: "1.06", rateId: first.rate!.id });
    const second = await setRate("CHF", "EUR", "1.05");
    await setRate("CHF", "EUR", "9", { validFrom: { seconds: 7_000_000_000n, nanos: 0 } });
    const two = await exchange(francs, euros, { sourceAmount: money(100n, "CHF") });
    expect(two.transaction!.exchange).to.deep.include({ rate: "1.05", rateId: second.rate!.id });
    const pair = { sourceCurrencyCode: "CHF", targetCurrencyCode: "EUR" };
    expect((await grey.ledger.getRate({ ...pair, atTime: undefined })).rate).to.deep.equal(second.rate);
    expect((await grey.ledger.getRate({ ...pair, atTime: first.rate!.validFrom })).rate).to.deep.equal(first.rate);
    const page = await grey.ledger.listRates({ ...pair, pageSize: 2, pageToken: "" });
    expect(page.rates.map((rate) => rate.rate)).to.deep.equal(["9", "1.05"]);
    const rest = await grey.ledger.listRates({ ...pair, pageSize: 2, pageToken: page.nextPageToken });
    expect(rest).to.deep.equal({ rates: [first.rate], nextPageToken: "" });
    const past = await refusal(setRate("CHF", "EUR", "1", { validFrom: { seconds: 1_000_000_000n, nanos: 0 } }));
    expect([...past.violations.keys()]).to.deep.equal(["valid_from"]);
    const nowhere = await refusal(setRate("CHF", "QQQ", "1"));
    expect(nowhere).to.include({ code: "NOT_FOUND", reason: "CURRENCY_NOT_FOUND" });
  });

  it("has no rate once the latest has ended", async () => {
    const pair = { sourceCurrencyCode: "SEK", targetCurrencyCode: "EUR" };
    await setRate("SEK", "EUR", "0.09");
    const admin = await openAdmin(server.databaseUrl);
    const { rows } = await admin.query<{ now: bigint }>(
      "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 300 AS now",
    );
    await admin.end();
    const until = { seconds: rows[0]!.now / 1_000n, nanos: Number(rows[0]!.now % 1_000n) * 1_000_000 };
    await setRate("SEK", "EUR", "0.08", { validUntil: until });
    await eventually("the rate has ended", async () => {
      const [answer] = await Promise.allSettled([grey.ledger.getRate({ ...pair, atTime: undefined })]);
      if (answer.status === "fulfilled") expect(answer.value.rate!.rate).to.equal("0.08");
      return answer.status === "rejected";
    });
    expect((await refusal(grey.ledger.getRate({ ...pair, atTime: undefined }))).reason).to.equal("RATE_NOT_FOUND");
  });

  describe("by a quote", () => {
    const quoteRequest = (over: Partial<GetQuoteRequest> = {}): GetQuoteRequest => ({
      ...GetQuoteRequest.fromPartial({ sourceCurrencyCode: "GBP", targetCurrencyCode: "EUR" }),
      amount: { $case: "sourceMinorUnits", value: 1_000n },
      ...over,
    });
    const byQuote = (value: string) => ({ by: { $case: "quote", value } }) as const;

    before(() => setRate("GBP", "EUR", "1.17"));

    it("gets what was promised, though the rate has changed since, as often as it is asked for", async () => {
      const { quote, terms } = await grey.transactions.getQuote(quoteRequest());
      expect(terms).to.deep.include({ sourceAmount: money(1_000n, "GBP"), targetAmount: money(1_170n, "EUR") });
      await setRate("GBP", "EUR", "1.10");
      const [pounds, euros] = [await wallet("GBP", 5_000n), await wallet("EUR")];
      const asked = request(pounds, euros, byQuote(quote));
      const { transaction, balances } = await grey.transactions.exchange(asked);
      expect(transaction!.exchange).to.deep.equal(terms);
      expect(balances[1]!.posted).to.deep.equal(money(1_170n, "EUR"));
      expect((await grey.transactions.exchange(asked)).replayed).to.equal(true);
    });

    it("is refused when its time has passed, by the database's clock; what was posted before stays answered", async () => {
      const { quote, expireTime } = await grey.transactions.getQuote(
        quoteRequest({ expiresIn: { seconds: 1n, nanos: 0 } }),
      );
      const [pounds, euros] = [await wallet("GBP", 5_000n), await wallet("EUR")];
      const early = request(pounds, euros, byQuote(quote));
      const { transaction } = await grey.transactions.exchange(early);
      const endMicros = expireTime!.seconds * 1_000_000n + BigInt(expireTime!.nanos / 1_000);
      const made = transaction!.createTime!;
      expect(made.seconds * 1_000_000n + BigInt(made.nanos / 1_000) < endMicros).to.equal(true);
      await eventually("the quote has expired", () =>
        exchange(pounds, euros, { ...byQuote(quote), dryRun: true }).then(
          () => false,
          () => true,
        ),
      );
      const late = await refusal(exchange(pounds, euros, byQuote(quote)));
      expect(late.reason).to.equal("QUOTE_EXPIRED");
      expect(late.info.transaction_id).to.be.a("string");
      expect((await grey.transactions.exchange(early)).replayed).to.equal(true);
    });

    it("is refused for other currencies, when it was tampered with, and for another caller's", async () => {
      const { quote } = await grey.transactions.getQuote(quoteRequest());
      const [dollars, euros, pounds] = [await wallet("USD", 5_000n), await wallet("EUR"), await wallet("GBP", 5_000n)];
      const other = await refusal(exchange(dollars, euros, byQuote(quote)));
      expect(other.reason).to.equal("CURRENCY_MISMATCH");
      const bytes = Buffer.from(quote, "base64url");
      bytes[bytes.length - 3]! ^= 1;
      const forged = await refusal(exchange(pounds, euros, byQuote(bytes.toString("base64url"))));
      expect(forged).to.include({ code: "INVALID_ARGUMENT", reason: "QUOTE_INVALID" });
      expect((await refusal(exchange(pounds, euros, byQuote("")))).reason).to.equal("QUOTE_INVALID");
    });
  });

  it("is refused for a documented reason, and kept", async () => {
    const [dollars, more, euros] = [await wallet("USD", 100n), await wallet("USD"), await wallet("EUR")];
    const reasons = async (from: string, to: string, over: Partial<ExchangeRequest>) => {
      const error = await refusal(exchange(from, to, over));
      const kept = await grey.transactions.getTransaction({ by: { $case: "id", value: error.info.transaction_id! } });
      expect(kept.transaction).to.deep.include({ state: TransactionState.REJECTED, kind: TransactionKind.EXCHANGE });
      return error.reason;
    };
    const sourceAmount = money(10n);
    expect(await reasons(dollars, more, { sourceAmount, ...byRate("1") })).to.equal("SAME_CURRENCY");
    expect(await reasons(dollars, dollars, { sourceAmount, ...byRate("1") })).to.equal("SAME_WALLET");
    expect(await reasons(dollars, randomUUID(), { sourceAmount, ...byRate("1") })).to.equal("WALLET_NOT_FOUND");
    expect(await reasons(dollars, euros, { sourceAmount, ...byRate("0.01") })).to.equal("EXCHANGE_AMOUNT_INVALID");
    expect(await reasons(dollars, euros, { sourceAmount, ...byRate("9".repeat(37)) })).to.equal(
      "EXCHANGE_AMOUNT_INVALID",
    );
    expect(await reasons(dollars, euros, { sourceAmount: money(101n), ...byRate("1") })).to.equal("INSUFFICIENT_FUNDS");
    expect(await reasons(dollars, euros, { sourceAmount: money(1n, "EUR"), ...byRate("1") })).to.equal(
      "CURRENCY_MISMATCH",
    );
    const { transactions } = await grey.transactions.listTransactions({
      of: { $case: "walletId", value: euros },
      kinds: [TransactionKind.EXCHANGE],
      states: [],
      pageSize: 10,
      pageToken: "",
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    });
    expect(transactions).to.have.lengthOf(4);
  });

  it("is not reversed for nothing: what a part comes to in the other currency is rounded up", async () => {
    const [dollars, yen] = [await wallet("USD", 1_000n), await wallet("JPY")];
    const { transaction } = await exchange(dollars, yen, {
      sourceAmount: money(1_000n),
      targetAmount: money(1n, "JPY"),
    });
    const { balances } = await grey.transactions.reverse(
      ReverseRequest.fromPartial({ requestId: randomUUID(), transactionId: transaction!.id, amount: money(999n) }),
    );
    expect(balances.map((one) => one.posted)).to.have.deep.members([money(999n), money(0n, "JPY")]);
  });

  it("is recorded before its quote expires, however long the commit waits", async () => {
    await setRate("DKK", "EUR", "0.13");
    const [crowns, euros] = [await wallet("DKK", 5_000n), await wallet("EUR")];
    const { quote } = await grey.transactions.getQuote({
      sourceCurrencyCode: "DKK",
      targetCurrencyCode: "EUR",
      amount: { $case: "sourceMinorUnits", value: 1_000n },
      expiresIn: { seconds: 2n, nanos: 0 },
    });
    const admin = await openAdmin(server.databaseUrl);
    await admin.query("BEGIN");
    await admin.query("UPDATE journal_head SET size = size");
    const asked = refusal(exchange(crowns, euros, { by: { $case: "quote", value: quote } }));
    await eventually("the quote has expired", async () => {
      const { rows } = await admin.query<{ waits: boolean }>(
        `SELECT clock_timestamp() > now() + interval '2.2 s' AND EXISTS (
           SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()) AS waits`,
      );
      return rows[0]!.waits;
    });
    await admin.query("COMMIT");
    await admin.end();
    expect((await asked).reason).to.equal("QUOTE_EXPIRED");
  });

  it("is reversed at what it was made for, also in parts", async () => {
    const [dollars, euros] = [await wallet("USD", 1_000n), await wallet("EUR")];
    const { transaction } = await exchange(dollars, euros, { sourceAmount: money(1_000n), ...byRate("0.333") });
    const reverse = (minorUnits?: bigint) =>
      grey.transactions.reverse(
        ReverseRequest.fromPartial({
          requestId: randomUUID(),
          transactionId: transaction!.id,
          amount: minorUnits === undefined ? undefined : money(minorUnits),
        }),
      );
    const first = await reverse(500n);
    expect(first.balances.map((one) => one.posted)).to.have.deep.members([money(500n), money(166n, "EUR")]);
    const wrong = await refusal(
      grey.transactions.reverse(
        ReverseRequest.fromPartial({
          requestId: randomUUID(),
          transactionId: transaction!.id,
          amount: money(1n, "EUR"),
        }),
      ),
    );
    expect(wrong.reason).to.equal("CURRENCY_MISMATCH");
    const rest = await reverse();
    expect(rest.balances.map((one) => one.posted)).to.have.deep.members([money(1_000n), money(0n, "EUR")]);
  });
});
