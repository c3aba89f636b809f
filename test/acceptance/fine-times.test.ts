import { expect } from "chai";
import type { DescMessage } from "@bufbuild/protobuf";
import type { Timestamp } from "../../generated/google/protobuf/timestamp.js";
import { GetRateRequest, SetRateRequest } from "../../generated/grey/ledger/v1/rate.js";
import {
  CreateScheduleRequest,
  InsufficientFundsPolicy,
  Recurring,
  ScheduledDeposit,
} from "../../generated/grey/schedule/v1/schedule.js";
import { EntrySide, type Transaction } from "../../generated/grey/transaction/v1/transaction.js";
import { type Leg, PostTransactionRequest } from "../../generated/grey/transaction/v1/compound.js";
import { ExchangeRequest, GetQuoteRequest } from "../../generated/grey/transaction/v1/exchange.js";
import { ExtendHoldRequest, HoldRequest } from "../../generated/grey/transaction/v1/hold.js";
import { ListTransactionsRequest } from "../../generated/grey/transaction/v1/query.js";
import { GetBalanceRequest } from "../../generated/grey/wallet/v1/balance.js";
import {
  GetStatementRequest,
  StatementOrder,
  StreamStatementRequest,
} from "../../generated/grey/wallet/v1/statement.js";
import { WalletServiceClient } from "../../generated/grey/wallet/v1/wallet_service.js";
import { credentials } from "@grpc/grpc-js";
import { newId, type Uuid } from "../../src/base/ids.js";
import { fromMicros, microsDown, type Micros } from "../../src/base/time.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { registry } from "../support/corpus.js";
import { depositRequest, makeWallet, money, transferRequest, withdrawRequest } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";
import { follow } from "../support/watch.js";

const DAY_MICROS = 86_400_000_000n;

/** The books know microseconds, the contract writes nanoseconds. */
describe("a time that is finer than a microsecond", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let wallets: WalletServiceClient;
  /** A wallet with one deposit of 10, and when that was recorded. */
  let walletId: Uuid;
  let other: Uuid;
  let deposit: Transaction;
  let at: Micros;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
    wallets = new WalletServiceClient(server.address, credentials.createInsecure());
    walletId = (await makeWallet(grey)).id;
    other = (await makeWallet(grey)).id;
    deposit = (await grey.transactions.deposit(depositRequest(walletId, 10n))).transaction!;
    at = microsDown(deposit.createTime!);
  });
  after(async () => {
    wallets.close();
    grey.close();
    await server.stop();
  });

  /** So many nanoseconds from a time. */
  function near(time: Micros, nanos: number): Timestamp {
    const base = fromMicros(nanos < 0 ? time - 1n : time);
    return { seconds: base.seconds, nanos: base.nanos + (nanos < 0 ? 1_000 + nanos : nanos) };
  }
  const own = () => ({ requestId: newId() });
  const found = async (over: Partial<ListTransactionsRequest>) => {
    const request = ListTransactionsRequest.fromPartial({ ...over });
    const of = { $case: "walletId", value: walletId } as const;
    return (await grey.transactions.listTransactions({ ...request, of })).transactions.length;
  };
  const balance = async (asOf: GetBalanceRequest["asOf"]) =>
    (await grey.wallets.getBalance({ ...GetBalanceRequest.fromPartial({ walletId }), asOf })).balance!.posted!
      .minorUnits;
  const lines = async (order: StatementOrder, from: Timestamp, before: Timestamp) =>
    (await grey.wallets.getStatement({ ...GetStatementRequest.fromPartial({ walletId }), order, from, before })).lines
      .length;
  const streamed = async (from: Timestamp, before: Timestamp) => {
    const request = { ...StreamStatementRequest.fromPartial({ walletId }), from, before };
    const stream = await follow(wallets.streamStatement(request));
    expect(await stream.ended).to.equal(undefined);
    return stream.messages.flatMap(({ part }) => (part?.$case === "lines" ? part.value.lines : [])).length;
  };
  const far = { seconds: 200_000_000_000n, nanos: 0 };
  const hold = async (over: Partial<HoldRequest>) => {
    const wallet = await makeWallet(grey, { minorUnits: 10n });
    const request = HoldRequest.fromPartial({ ...own(), walletId: wallet.id, amount: money(1n) });
    return (await grey.transactions.hold({ ...request, ...over })).hold!;
  };
  const extended = async (expiry: ExtendHoldRequest["expiry"]) => {
    const { id } = await hold({ expiry: { $case: "expiresIn", value: { seconds: 5n, nanos: 0 } } });
    return (await grey.transactions.extendHold({ ...ExtendHoldRequest.fromPartial({ ...own(), holdId: id }), expiry }))
      .hold!;
  };
  const setRate = async (over: Partial<SetRateRequest>) => {
    const codes = { sourceCurrencyCode: "USD", targetCurrencyCode: "EUR" };
    return (await grey.ledger.setRate({ ...SetRateRequest.fromPartial({ ...own(), ...codes, rate: "2" }), ...over }))
      .rate!;
  };
  const schedule = async (over: Partial<CreateScheduleRequest>) => {
    const movement = ScheduledDeposit.fromPartial({ walletId, amount: money(1n) });
    return (
      await grey.schedules.createSchedule({
        ...CreateScheduleRequest.fromPartial(own()),
        movement: { $case: "deposit", value: movement },
        ...over,
      })
    ).schedule!;
  };
  const recurring = (over: Partial<Recurring>) => ({
    when: {
      $case: "recurring" as const,
      value: { ...Recurring.fromPartial({ cron: "* * * * *", timeZone: "UTC" }), ...over },
    },
  });
  /** A whole minute that has not come yet. */
  const minute = () => (microsDown(deposit.createTime!) / DAY_MICROS + 2n) * DAY_MICROS;
  const cutTo = (transaction: Transaction | undefined, time: Micros) =>
    expect(microsDown(transaction!.effectiveTime!)).to.equal(time);

  /** What shows how each time of a request is understood. */
  const FIELDS: Readonly<Record<string, () => Promise<unknown>>> = {
    "ListTransactionsRequest.create_time_from": async () => {
      expect(await found({ createTimeFrom: near(at, -1) })).to.equal(1);
      expect(await found({ createTimeFrom: near(at, 0) })).to.equal(1);
      expect(await found({ createTimeFrom: near(at, 1) })).to.equal(0);
    },
    "ListTransactionsRequest.create_time_before": async () => {
      expect(await found({ createTimeBefore: near(at, -1) })).to.equal(0);
      expect(await found({ createTimeBefore: near(at, 0) })).to.equal(0);
      expect(await found({ createTimeBefore: near(at, 1) })).to.equal(1);
    },
    "GetStatementRequest.from": async () => {
      for (const order of [StatementOrder.RECORD_TIME, StatementOrder.EFFECTIVE_TIME]) {
        expect(await lines(order, near(at, -1), far)).to.equal(1);
        expect(await lines(order, near(at, 0), far)).to.equal(1);
        expect(await lines(order, near(at, 1), far)).to.equal(0);
      }
    },
    "GetStatementRequest.before": async () => {
      for (const order of [StatementOrder.RECORD_TIME, StatementOrder.EFFECTIVE_TIME]) {
        expect(await lines(order, near(0n, 0), near(at, -1))).to.equal(0);
        expect(await lines(order, near(0n, 0), near(at, 0))).to.equal(0);
        expect(await lines(order, near(0n, 0), near(at, 1))).to.equal(1);
      }
    },
    "StreamStatementRequest.from": async () => {
      expect(await streamed(near(at, 0), far)).to.equal(1);
      expect(await streamed(near(at, 1), far)).to.equal(0);
    },
    "StreamStatementRequest.before": async () => {
      expect(await streamed(near(0n, 0), near(at, 0))).to.equal(0);
      expect(await streamed(near(0n, 0), near(at, 1))).to.equal(1);
    },
    "GetBalanceRequest.record_time": async () => {
      expect(await balance({ $case: "recordTime", value: near(at, -1) })).to.equal(0n);
      expect(await balance({ $case: "recordTime", value: near(at, 1) })).to.equal(10n);
    },
    "GetBalanceRequest.effective_time": async () => {
      expect(await balance({ $case: "effectiveTime", value: near(at, -1) })).to.equal(0n);
      expect(await balance({ $case: "effectiveTime", value: near(at, 1) })).to.equal(10n);
    },
    "HoldRequest.expires_in": async () => {
      const { createTime, expireTime } = await hold({
        expiry: { $case: "expiresIn", value: { seconds: 60n, nanos: 1 } },
      });
      expect(microsDown(expireTime!) - microsDown(createTime!)).to.equal(60_000_001n);
    },
    "HoldRequest.expire_time": async () => {
      const { expireTime } = await hold({ expiry: { $case: "expireTime", value: near(minute(), 1) } });
      expect(microsDown(expireTime!)).to.equal(minute() + 1n);
    },
    "ExtendHoldRequest.expires_in": async () => {
      const { updateTime, expireTime } = await extended({ $case: "expiresIn", value: { seconds: 60n, nanos: 1 } });
      expect(microsDown(expireTime!) - microsDown(updateTime!)).to.equal(60_000_001n);
    },
    "ExtendHoldRequest.expire_time": async () => {
      const { expireTime } = await extended({ $case: "expireTime", value: near(minute(), 1) });
      expect(microsDown(expireTime!)).to.equal(minute() + 1n);
    },
    "SetRateRequest.valid_from": async () => {
      const { validFrom } = await setRate({ validFrom: near(minute(), 1) });
      expect(microsDown(validFrom!)).to.equal(minute() + 1n);
    },
    "SetRateRequest.valid_until": async () => {
      const { validUntil } = await setRate({ validUntil: near(minute(), 1) });
      expect(microsDown(validUntil!)).to.equal(minute() + 1n);
      const latest = { seconds: 253_402_300_799n, nanos: 999_999_999 };
      expect((await setRate({ validUntil: latest })).validUntil!.nanos).to.equal(999_999_000);
    },
    "GetRateRequest.at_time": async () => {
      const [from, until] = [near(minute() + DAY_MICROS, 0), near(minute() + DAY_MICROS + 1n, 0)];
      const { id } = await setRate({ validFrom: from, validUntil: until });
      const request = GetRateRequest.fromPartial({ sourceCurrencyCode: "USD", targetCurrencyCode: "EUR" });
      const rate = (atTime: Timestamp) => grey.ledger.getRate({ ...request, atTime });
      expect((await rate(near(minute() + DAY_MICROS, 999))).rate!.id).to.equal(id);
      expect((await refusal(rate(until))).reason).to.equal("RATE_NOT_FOUND");
    },
    "GetQuoteRequest.expires_in": async () => {
      await setRate({});
      const before = microsDown((await grey.transactions.deposit(depositRequest(other, 1n))).transaction!.createTime!);
      const request = GetQuoteRequest.fromPartial({ sourceCurrencyCode: "USD", targetCurrencyCode: "EUR" });
      const { expireTime } = await grey.transactions.getQuote({
        ...request,
        amount: { $case: "sourceMinorUnits", value: 1n },
        expiresIn: { seconds: 60n, nanos: 1 },
      });
      expect(microsDown(expireTime!) >= before + 60_000_001n).to.equal(true);
    },
    "CreateScheduleRequest.once": async () => {
      const { nextRunTime } = await schedule({ when: { $case: "once", value: near(minute(), 1) } });
      expect(microsDown(nextRunTime!)).to.equal(minute() + 1n);
    },
    "CreateScheduleRequest.retry_interval": async () => {
      const { retryInterval } = await schedule({
        ...recurring({}),
        onInsufficientFunds: InsufficientFundsPolicy.RETRY,
        retryInterval: { seconds: 60n, nanos: 1 },
      });
      expect(retryInterval).to.deep.equal({ seconds: 60n, nanos: 1_000 });
    },
    "Recurring.start_time": async () => {
      const { nextRunTime } = await schedule(recurring({ startTime: near(minute(), 1) }));
      expect(microsDown(nextRunTime!)).to.equal(minute() + 60_000_000n);
    },
    "Recurring.end_time": async () => {
      const only = (endTime: Timestamp) => schedule(recurring({ startTime: near(minute(), 0), endTime }));
      expect(microsDown((await only(near(minute(), 1))).nextRunTime!)).to.equal(minute());
      const none = recurring({ startTime: near(minute() - 1n, 1), endTime: near(minute() - 1n, 2) });
      expect((await refusal(schedule(none))).violations.get("recurring.end_time")).to.match(/later than start_time/);
    },
    "DepositRequest.effective_time": async () => {
      const { id } = await makeWallet(grey);
      const request = depositRequest(id, 1n, { effectiveTime: near(at, 999) });
      cutTo((await grey.transactions.deposit(request)).transaction, at);
    },
    "WithdrawRequest.effective_time": async () => {
      const { id } = await makeWallet(grey, { minorUnits: 1n });
      const request = withdrawRequest(id, 1n, { effectiveTime: near(at, 999) });
      cutTo((await grey.transactions.withdraw(request)).transaction, at);
    },
    "TransferRequest.effective_time": async () => {
      const [from, to] = [await makeWallet(grey, { minorUnits: 1n }), await makeWallet(grey)];
      const request = transferRequest(from.id, to.id, 1n, { effectiveTime: near(at, 999) });
      cutTo((await grey.transactions.transfer(request)).transaction, at);
    },
    "PostTransactionRequest.effective_time": async () => {
      const { id } = await makeWallet(grey);
      const leg = (side: EntrySide, account: Leg["account"]) => ({ side, account, amount: money(1n) });
      const legs = [
        leg(EntrySide.DEBIT, { $case: "systemAccount", value: "cash" }),
        leg(EntrySide.CREDIT, { $case: "walletId", value: id }),
      ];
      const request = { ...PostTransactionRequest.fromPartial(own()), legs, effectiveTime: near(at, 999) };
      cutTo((await grey.transactions.postTransaction(request)).transaction, at);
    },
    "ExchangeRequest.effective_time": async () => {
      const [from, to] = [await makeWallet(grey, { minorUnits: 1n }), await makeWallet(grey, { currencyCode: "EUR" })];
      const request = ExchangeRequest.fromPartial({ ...own(), fromWalletId: from.id, toWalletId: to.id });
      const amounts = { sourceAmount: money(1n), targetAmount: money(1n, "EUR") };
      const { transaction } = await grey.transactions.exchange({
        ...request,
        ...amounts,
        effectiveTime: near(at, 999),
      });
      cutTo(transaction, at);
    },
  };

  it("is looked at wherever a request has one", () => {
    const fields = new Set<string>();
    const seen = new Set<string>();
    const collect = (message: DescMessage): void => {
      if (seen.has(message.typeName)) return;
      seen.add(message.typeName);
      for (const field of message.fields) {
        const type = field.message;
        if (type?.typeName === "google.protobuf.Timestamp" || type?.typeName === "google.protobuf.Duration")
          fields.add(`${message.name}.${field.name}`);
        else if (type !== undefined) collect(type);
      }
    };
    for (const type of registry)
      if (type.kind === "service" && type.typeName.startsWith("grey."))
        for (const { input } of type.methods) collect(input);
    expect(Object.keys(FIELDS).sort()).to.deep.equal([...fields].sort());
  });

  for (const [field, show] of Object.entries(FIELDS)) {
    const way = /effective_time|record_time|at_time/.test(field) ? "is cut" : "is rounded up";
    it(`${way} in ${field}`, show);
  }
});
