import { randomUUID } from "node:crypto";
import { expect } from "chai";
import type pg from "pg";
import {
  SetLimitsRequest,
  VelocityDirection,
  VelocityLimit,
  type Limits,
} from "../../generated/grey/ledger/v1/limits.js";
import { CaptureHoldRequest, HoldRequest } from "../../generated/grey/transaction/v1/hold.js";
import { ReverseRequest } from "../../generated/grey/transaction/v1/reversal.js";
import { TransactionKind } from "../../generated/grey/transaction/v1/transaction.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { depositRequest, makeWallet, money, openAdmin, transferRequest, withdrawRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

/** Limits that callers set, on two servers of one database. */
describe("the limits of a wallet", function () {
  this.timeout(60_000);

  let servers: readonly TestServer[];
  let grey: Clients;
  let there: Clients;
  let admin: pg.Client;

  before(async () => {
    const first = await startServer();
    servers = [first, await startServer({ DATABASE_URL: first.databaseUrl })];
    grey = connect(servers[0]!.address);
    there = connect(servers[1]!.address);
    admin = await openAdmin(first.databaseUrl);
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    grey.close();
    there.close();
    await admin.end();
    for (const server of servers.toReversed()) await server.stop();
    expect(faults).to.deep.equal([]);
  });

  const wallet = async (minorUnits = 0n, currencyCode = "USD") =>
    (await makeWallet(grey, { minorUnits, currencyCode })).id;
  const limitsRequest = (walletId: string, limits: Partial<Limits>): SetLimitsRequest => ({
    ...SetLimitsRequest.fromPartial({ requestId: randomUUID(), reason: "a case" }),
    account: { $case: "walletId", value: walletId },
    limits: { minBalance: undefined, maxBalance: undefined, velocity: [], ...limits },
  });
  const setLimits = (walletId: string, limits: Partial<Limits>) =>
    grey.ledger.setLimits(limitsRequest(walletId, limits));
  const velocity = (over: Partial<VelocityLimit>): VelocityLimit => ({
    ...VelocityLimit.fromPartial({ name: "daily", direction: VelocityDirection.OUTGOING, windowSeconds: 86_400n }),
    ...over,
  });
  const usageOf = async (walletId: string) =>
    (await grey.ledger.getLimits({ account: { $case: "walletId", value: walletId } })).usage;
  const transfer = (from: string, to: string, minorUnits: bigint, clients = grey) =>
    clients.transactions.transfer(transferRequest(from, to, minorUnits));

  it("grant an overdraft, and tell what of it is left", async () => {
    const [a, b] = [await wallet(10n), await wallet()];
    const asked = limitsRequest(a, { minBalance: -50n });
    const set = await grey.ledger.setLimits(asked);
    expect(set.limits).to.deep.equal({ minBalance: -50n, maxBalance: undefined, velocity: [] });
    expect(await there.ledger.setLimits(asked)).to.deep.equal({ ...set, replayed: true });
    await transfer(a, b, 45n);
    const error = await refusal(transfer(a, b, 16n, there));
    expect(error.reason).to.equal("INSUFFICIENT_FUNDS");
    expect(error.info).to.include({
      available_minor_units: "15",
      required_minor_units: "16",
      min_balance_minor_units: "-50",
    });
    await transfer(a, b, 15n, there);
    const breached = await refusal(setLimits(a, {}));
    expect(breached).to.include({ code: "FAILED_PRECONDITION", reason: "LIMIT_BREACHED" });
    expect(breached.info).to.include({ limit: "min_balance", limit_minor_units: "0", actual_minor_units: "-50" });
  });

  it("keep a balance below a maximum, counting what is held for it", async () => {
    const [a, b] = [await wallet(100n), await wallet()];
    await setLimits(b, { maxBalance: 50n });
    await grey.transactions.hold(
      HoldRequest.fromPartial({ requestId: randomUUID(), walletId: a, toWalletId: b, amount: money(30n) }),
    );
    const error = await refusal(transfer(a, b, 21n));
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "MAX_BALANCE_EXCEEDED" });
    expect(error.info).to.include({
      max_balance_minor_units: "50",
      room_minor_units: "20",
      required_minor_units: "21",
    });
    await transfer(a, b, 20n);
    expect((await refusal(setLimits(b, { maxBalance: 49n }))).info).to.include({ actual_minor_units: "50" });
  });

  it("let so much go within a window, and tell which limit, what was used and when it frees", async () => {
    const [a, b] = [await wallet(1_000n), await wallet()];
    await setLimits(a, { velocity: [velocity({ maxAmount: 100n })] });
    await transfer(a, b, 60n);
    await grey.transactions.withdraw(withdrawRequest(a, 30n));
    expect(await usageOf(a)).to.deep.equal([{ name: "daily", amount: 90n, count: 2n }]);
    const before = BigInt(Date.now()) / 1_000n;
    const error = await refusal(transfer(a, b, 11n, there));
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "VELOCITY_EXCEEDED" });
    expect(error.info).to.include({
      wallet_id: a,
      limit: "daily",
      measure: "amount",
      max: "100",
      used: "90",
      required: "11",
      window_seconds: "86400",
    });
    const frees = BigInt(Date.parse(error.info.frees_time!)) / 1_000n;
    // A hundredth of the window is the most that it may be late.
    expect(frees - before >= 86_399n && frees - before <= 86_400n + 865n).to.equal(true);
    await transfer(a, b, 10n, there);
    const never = await refusal(transfer(a, b, 101n));
    expect([never.reason, never.info.frees_time]).to.deep.equal(["VELOCITY_EXCEEDED", undefined]);
    await grey.transactions.deposit(depositRequest(a, 5_000n));
  });

  it("count transactions, of certain kinds, in either direction", async () => {
    const [a, b] = [await wallet(1_000n), await wallet(1_000n)];
    await setLimits(a, {
      velocity: [
        velocity({ name: "cash", kinds: [TransactionKind.WITHDRAWAL], maxCount: 2n, windowSeconds: 3_600n }),
        velocity({ name: "gifts", direction: VelocityDirection.INCOMING, maxCount: 1n, windowSeconds: 60n }),
      ],
    });
    await grey.transactions.withdraw(withdrawRequest(a, 1n));
    await transfer(a, b, 1n);
    await grey.transactions.withdraw(withdrawRequest(a, 1n));
    const error = await refusal(grey.transactions.withdraw(withdrawRequest(a, 1n)));
    expect(error.info).to.include({ limit: "cash", measure: "count", used: "2", required: "1" });
    await transfer(b, a, 1n);
    expect((await refusal(transfer(b, a, 1n))).info).to.include({ limit: "gifts", wallet_id: a });
    const upper = { $case: "walletId", value: a.toUpperCase() } as const;
    expect((await grey.ledger.getLimits({ account: upper })).usage).to.deep.equal(await usageOf(a));
    expect((await usageOf(a)).map((one) => [one.name, one.count])).to.deep.equal([
      ["cash", 2n],
      ["gifts", 1n],
    ]);
  });

  it("free what was used when it leaves the window, never early", async () => {
    const [a, b] = [await wallet(1_000n), await wallet()];
    await setLimits(a, { velocity: [velocity({ maxAmount: 10n, windowSeconds: 3_600n })] });
    await transfer(a, b, 10n);
    expect((await refusal(transfer(a, b, 1n))).reason).to.equal("VELOCITY_EXCEEDED");
    // As if it had been 3,590 s ago, and then more than an hour.
    const age = async (slices: number) => {
      await admin.query("UPDATE velocity_usage SET slice = slice - $2 WHERE account_id = $1", [a, slices]);
      // The servers remember the account in its present state, with what was used.
      await admin.query("UPDATE accounts SET state = state WHERE id = $1", [a]);
    };
    await age(99);
    expect((await refusal(transfer(a, b, 1n, there))).reason).to.equal("VELOCITY_EXCEEDED");
    await age(2);
    await transfer(a, b, 10n, there);
    // The past that was made up does not match the books.
    await setLimits(a, {});
  });

  it("count what is held when it is held, so that its capture is not refused for them", async () => {
    const [a, b] = [await wallet(1_000n), await wallet()];
    await setLimits(a, { velocity: [velocity({ maxAmount: 100n })] });
    const { hold } = await grey.transactions.hold(
      HoldRequest.fromPartial({ requestId: randomUUID(), walletId: a, toWalletId: b, amount: money(80n) }),
    );
    expect((await refusal(transfer(a, b, 21n))).reason).to.equal("VELOCITY_EXCEEDED");
    const more = { requestId: randomUUID(), holdId: hold!.id, description: "", metadata: {} };
    expect((await refusal(grey.transactions.increaseHold({ ...more, amount: money(21n) }))).reason).to.equal(
      "VELOCITY_EXCEEDED",
    );
    await grey.transactions.increaseHold({ ...more, requestId: randomUUID(), amount: money(20n) });
    expect(await usageOf(a)).to.deep.equal([{ name: "daily", amount: 100n, count: 1n }]);
    const { transaction } = await grey.transactions.captureHold(
      CaptureHoldRequest.fromPartial({ requestId: randomUUID(), holdId: hold!.id }),
    );
    await grey.transactions.reverse(
      ReverseRequest.fromPartial({ requestId: randomUUID(), transactionId: transaction!.id }),
    );
    expect(await usageOf(a)).to.deep.equal([{ name: "daily", amount: 100n, count: 1n }]);
  });

  it("hold, whatever many callers send to two servers at once", async () => {
    const [a, b] = [await wallet(10_000n), await wallet()];
    await setLimits(a, { velocity: [velocity({ maxAmount: 100n, maxCount: 50n })] });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 120 }, (_, index) => transfer(a, b, 3n, index % 2 === 0 ? grey : there)),
    );
    expect(outcomes.filter((one) => one.status === "fulfilled")).to.have.lengthOf(33);
    expect(await usageOf(a)).to.deep.equal([{ name: "daily", amount: 99n, count: 33n }]);
  });

  it("count from when a posting is recorded, however long its commit waits", async () => {
    const [a, b] = [await wallet(1_000n), await wallet()];
    await setLimits(a, { velocity: [velocity({ maxCount: 2n, windowSeconds: 60n })] });
    await admin.query("BEGIN");
    await admin.query("UPDATE journal_head SET size = size");
    const sent = transfer(a, b, 1n);
    await eventually("the posting has waited", async () => {
      const { rows } = await admin.query<{ waits: boolean }>(
        `SELECT clock_timestamp() > now() + interval '1.5 s' AND EXISTS (
           SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()) AS waits`,
      );
      return rows[0]!.waits;
    });
    await admin.query("COMMIT");
    const { transaction } = await sent;
    const recorded = transaction!.createTime!.seconds * 1_000_000n + BigInt(transaction!.createTime!.nanos) / 1_000n;
    const { rows } = await admin.query<{ slice: bigint }>("SELECT slice FROM velocity_usage WHERE account_id = $1", [
      a,
    ]);
    expect(rows.map((row) => row.slice)).to.deep.equal([recorded / 600_000n]);
    await transfer(a, b, 1n);
    expect((await refusal(transfer(a, b, 1n))).reason).to.equal("VELOCITY_EXCEEDED");
  });

  it("keep what was used when only their maxima change", async () => {
    const [a, b] = [await wallet(1_000n), await wallet()];
    await setLimits(a, { velocity: [velocity({ maxAmount: 10n })] });
    await transfer(a, b, 10n);
    await setLimits(a, { velocity: [velocity({ maxAmount: 15n })] });
    expect((await refusal(transfer(a, b, 6n))).info).to.include({ used: "10" });
    await transfer(a, b, 5n);
    await setLimits(a, { velocity: [velocity({ maxAmount: 15n, windowSeconds: 3_600n })] });
    expect(await usageOf(a)).to.deep.equal([{ name: "daily", amount: 0n, count: 0n }]);
    await transfer(a, b, 15n);
  });

  it("come with a wallet that is opened, where its currency has defaults; who set them is told for ever", async () => {
    const earlier = await wallet(0n, "NOK");
    const limits = { minBalance: -7n, maxBalance: 500n, velocity: [velocity({ maxCount: 2n })] };
    const asked = { requestId: randomUUID(), currencyCode: "NOK", limits, reason: "our policy" };
    const set = await grey.ledger.setDefaultLimits(asked);
    expect(set).to.deep.include({ limits, replayed: false });
    expect((await there.ledger.setDefaultLimits(asked)).replayed).to.equal(true);
    expect(await there.ledger.getDefaultLimits({ currencyCode: "NOK" })).to.deep.equal({ limits });
    const later = await wallet(0n, "NOK");
    const of = (value: string) => ({ account: { $case: "walletId", value } }) as const;
    expect((await grey.ledger.getLimits(of(earlier))).limits).to.deep.include({ minBalance: 0n, velocity: [] });
    expect((await grey.ledger.getLimits(of(later))).limits).to.deep.equal(limits);
    const nok = (minorUnits: bigint) => ({ amount: money(minorUnits, "NOK") });
    await grey.transactions.withdraw(withdrawRequest(later, 7n, nok(7n)));
    await setLimits(later, { minBalance: -9n });
    const page = { pageSize: 1, pageToken: "" };
    const { changes } = await grey.ledger.listLimitChanges({ of: { $case: "walletId", value: later }, ...page });
    expect(changes.map((one) => [one.reason, one.limits!.minBalance])).to.deep.equal([["a case", -9n]]);
    const ofDefaults = { $case: "defaultsOfCurrencyCode", value: "NOK" } as const;
    const defaults = await grey.ledger.listLimitChanges({ of: ofDefaults, ...page });
    expect(defaults.changes.map((one) => [one.reason, one.limits])).to.deep.equal([["our policy", limits]]);
  });

  it("are refused for what there is not, and where they make no sense", async () => {
    const a = await wallet();
    const nobody = await refusal(setLimits(randomUUID(), {}));
    expect(nobody).to.include({ code: "NOT_FOUND", reason: "WALLET_NOT_FOUND" });
    const twice = await refusal(
      setLimits(a, { velocity: [velocity({ maxCount: 1n }), velocity({ maxCount: 2n, windowSeconds: 60n })] }),
    );
    expect([...twice.violations.keys()]).to.deep.equal(["limits.velocity[1].name"]);
    const cash = { $case: "systemAccount", value: { name: "cash", currencyCode: "USD" } } as const;
    const system = await refusal(
      grey.ledger.setLimits({ ...limitsRequest(a, { velocity: [velocity({ maxCount: 1n })] }), account: cash }),
    );
    expect([...system.violations.keys()]).to.deep.equal(["limits.velocity"]);
    const none = await refusal(setLimits(a, { velocity: [velocity({})] }));
    expect([...none.violations.keys()]).to.deep.equal(["limits.velocity[0].max_amount"]);
    const defaults = await refusal(
      grey.ledger.setDefaultLimits({
        requestId: randomUUID(),
        currencyCode: "USD",
        reason: "",
        limits: { minBalance: 1n, maxBalance: undefined, velocity: [] },
      }),
    );
    expect([...defaults.violations.keys()]).to.deep.equal(["limits.min_balance"]);
  });
});
