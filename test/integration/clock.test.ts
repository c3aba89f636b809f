import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type pg from "pg";
import { AlertDirection, CreateAlertRequest } from "../../generated/grey/alert/v1/alert_service.js";
import { Limits, SetLimitsRequest, VelocityDirection, VelocityLimit } from "../../generated/grey/ledger/v1/limits.js";
import { SetRateRequest } from "../../generated/grey/ledger/v1/rate.js";
import { CreateScheduleRequest, ScheduledDeposit, ScheduleState } from "../../generated/grey/schedule/v1/schedule.js";
import { HoldState, CaptureHoldRequest, HoldRequest } from "../../generated/grey/transaction/v1/hold.js";
import { ExchangeRequest, GetQuoteRequest } from "../../generated/grey/transaction/v1/exchange.js";
import { UpdateWalletRequest } from "../../generated/grey/wallet/v1/wallet.js";
import { newId } from "../../src/base/ids.js";
import { fromMicros, microsDown, type Micros } from "../../src/base/time.js";
import { readClock } from "../../src/db/clock.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { depositRequest, makeUser, makeWallet, money, openAdmin, withdrawRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

const HOUR_MICROS = 3_600_000_000n;

/**
 * A failover or NTP can set the database's clock back. To the ledger that is a journal whose last record lies ahead of the
 * database's clock: here, by an hour.
 */
describe("once the database's clock has stepped back", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let head: Micros;

  before(async () => {
    server = await startServer({ GREY_HOLD_EXPIRY_EVERY_MS: "20", GREY_SCHEDULE_EVERY_MS: "20" });
    grey = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    expect(faults).to.deep.equal([]);
    grey.close();
    await admin.end();
    await server.stop();
  });
  beforeEach(async () => {
    await stepBack();
    head = await readClock(admin);
  });

  /** Moves the ledger's time an hour on, which the database's clock does not follow. */
  async function stepBack(): Promise<void> {
    await admin.query("UPDATE journal_head SET last_time = greatest(last_time, clock_timestamp()) + interval '1 hour'");
  }

  const setRate = async (rate: string, over: Partial<SetRateRequest> = {}) => {
    const codes = { sourceCurrencyCode: "USD", targetCurrencyCode: "EUR" };
    const request = SetRateRequest.fromPartial({ requestId: newId(), rate, ...codes });
    return (await grey.ledger.setRate({ ...request, ...over })).rate!;
  };
  const rateNow = async () =>
    (
      await grey.ledger.getRate({
        sourceCurrencyCode: "USD",
        targetCurrencyCode: "EUR",
        atTime: undefined,
        minJournalIndex: undefined,
      })
    ).rate!.rate;
  const exchangeRequest = async (over: Partial<ExchangeRequest>) => ({
    ...ExchangeRequest.fromPartial({
      requestId: newId(),
      fromWalletId: (await makeWallet(grey, { minorUnits: 1_000n })).id,
      toWalletId: (await makeWallet(grey, { currencyCode: "EUR" })).id,
    }),
    ...over,
  });
  const hold = async (walletId: string, seconds: bigint) =>
    (
      await grey.transactions.hold({
        ...HoldRequest.fromPartial({ requestId: newId(), walletId, amount: money(100n) }),
        expiry: { $case: "expiresIn", value: { seconds, nanos: 0 } },
      })
    ).hold!;
  const reasonOf = async (call: Promise<unknown>) => (await refusal(call)).reason;

  it("a rate that was set counts at once, for GetRate, GetQuote and Exchange", async () => {
    const { validFrom, createTime } = await setRate("0.9");
    expect(microsDown(validFrom!) >= head).to.equal(true);
    expect(microsDown(createTime!) >= head).to.equal(true);
    await setRate("0.8");
    expect(await rateNow()).to.equal("0.8");
    const { transaction } = await grey.transactions.exchange(await exchangeRequest({ sourceAmount: money(100n) }));
    expect(transaction!.exchange!.targetAmount).to.deep.equal(money(80n, "EUR"));
  });

  it("a rate that has ended stays ended", async () => {
    await setRate("0.7", { validUntil: fromMicros(head + HOUR_MICROS / 2n) });
    await stepBack();
    expect(await reasonOf(rateNow())).to.equal("RATE_NOT_FOUND");
    const exchange = grey.transactions.exchange(await exchangeRequest({ sourceAmount: money(100n) }));
    expect(await reasonOf(exchange)).to.equal("RATE_NOT_FOUND");
  });

  it("a quote lasts as long as it promises, and no longer", async () => {
    await setRate("0.5");
    const asked = { sourceCurrencyCode: "USD", targetCurrencyCode: "EUR" };
    const request = GetQuoteRequest.fromPartial({ ...asked, expiresIn: { seconds: 60n, nanos: 0 } });
    const { quote, expireTime } = await grey.transactions.getQuote({
      ...request,
      amount: { $case: "sourceMinorUnits", value: 100n },
    });
    expect(microsDown(expireTime!) >= head + 60_000_000n).to.equal(true);
    const by = { $case: "quote", value: quote } as const;
    await grey.transactions.exchange(await exchangeRequest({ by }));
    await stepBack();
    expect(await reasonOf(grey.transactions.exchange(await exchangeRequest({ by })))).to.equal("QUOTE_EXPIRED");
  });

  it("a hold lasts as long as it was asked for, and expires then", async () => {
    const wallet = await makeWallet(grey, { minorUnits: 1_000n });
    const { id, createTime, expireTime } = await hold(wallet.id, 600n);
    expect(microsDown(createTime!) >= head).to.equal(true);
    expect(microsDown(expireTime!) - microsDown(createTime!)).to.equal(600_000_000n);
    await grey.transactions.captureHold({
      ...CaptureHoldRequest.fromPartial({ requestId: newId(), holdId: id, amount: money(1n) }),
      to: undefined,
    });
    await stepBack();
    await eventually("the hold's expiry", async () => {
      const { hold: now } = await grey.transactions.getHold({ id, minJournalIndex: undefined });
      return now!.state === HoldState.EXPIRED;
    });
  });

  it("a schedule runs when the ledger's time has come to it", async () => {
    const wallet = await makeWallet(grey, { minorUnits: 0n });
    const deposit = ScheduledDeposit.fromPartial({ walletId: wallet.id, amount: money(5n) });
    const at = (time: Micros) =>
      grey.schedules.createSchedule({
        ...CreateScheduleRequest.fromPartial({ requestId: newId() }),
        movement: { $case: "deposit", value: deposit },
        when: { $case: "once", value: fromMicros(time) },
      });
    expect(await reasonOf(at(head))).to.equal("SCHEDULE_TIME_INVALID");
    const { schedule } = await at(head + HOUR_MICROS / 2n);
    await stepBack();
    await eventually("the run", async () => {
      const { schedule: now } = await grey.schedules.getSchedule({ id: schedule!.id, minJournalIndex: undefined });
      return now!.state === ScheduleState.COMPLETED;
    });
  });

  it("what was used of a velocity limit counts until its window has passed", async () => {
    const wallet = await makeWallet(grey, { minorUnits: 1_000n });
    const velocity = VelocityLimit.fromPartial({
      name: "daily",
      direction: VelocityDirection.OUTGOING,
      windowSeconds: 600n,
      maxCount: 1n,
    });
    const account = { $case: "walletId", value: wallet.id } as const;
    await grey.ledger.setLimits({
      ...SetLimitsRequest.fromPartial({ requestId: newId(), reason: "test" }),
      account,
      limits: Limits.fromPartial({ velocity: [velocity] }),
    });
    const used = async () => (await grey.ledger.getLimits({ account, minJournalIndex: undefined })).usage[0]!.count;
    await grey.transactions.withdraw(withdrawRequest(wallet.id, 1n));
    expect(await used()).to.equal(1n);
    expect(await reasonOf(grey.transactions.withdraw(withdrawRequest(wallet.id, 1n)))).to.equal("VELOCITY_EXCEEDED");
    await stepBack();
    expect(await used()).to.equal(0n);
  });

  it("nothing is told to have been made before what came before it", async () => {
    const user = await makeUser(grey);
    const wallet = await makeWallet(grey, { minorUnits: 0n });
    const alert = await grey.alerts.createAlert({
      ...CreateAlertRequest.fromPartial({ requestId: newId(), walletId: wallet.id, threshold: money(1n) }),
      direction: AlertDirection.UP,
    });
    const changed = await grey.wallets.updateWallet({
      ...UpdateWalletRequest.fromPartial({
        requestId: newId(),
        walletId: wallet.id,
        label: "a",
        updateMask: ["label"],
      }),
    });
    const { transaction } = await grey.transactions.deposit(depositRequest(wallet.id, 1n));
    for (const time of [
      user.createTime,
      wallet.createTime,
      alert.alert!.createTime,
      changed.wallet!.updateTime,
      transaction!.createTime,
    ]) {
      // Users, wallets and alerts have times to the millisecond.
      expect(microsDown(time!) >= head - (head % 1_000n)).to.equal(true);
    }
  });

  it("is not met by a decision that asks another clock: no other file asks PostgreSQL for the time", () => {
    const root = join(import.meta.dirname, "../../../src");
    const asking = readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .filter((file) =>
        /clock_timestamp|\bSELECT .*now\(\)|current_timestamp/i.test(readFileSync(join(root, file), "utf8")),
      );
    // The journal's head is what the clock follows.
    expect(asking.sort()).to.deep.equal(["db/clock.ts", "journal/append.ts"]);
  });
});
