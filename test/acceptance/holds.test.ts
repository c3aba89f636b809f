import { randomUUID } from "node:crypto";
import { expect } from "chai";
import pg from "pg";
import { SetLimitsRequest } from "../../generated/grey/ledger/v1/limits.js";
import {
  HoldState,
  IncreaseHoldRequest,
  type CaptureHoldRequest,
  type HoldRequest,
  type HoldResponse,
} from "../../generated/grey/transaction/v1/hold.js";
import { TransactionKind } from "../../generated/grey/transaction/v1/transaction.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import { transferRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

/** Holds, as a client has them. */
describe("a hold", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let userId: string;

  before(async () => {
    // This server does not look for holds that are due: their time counts all the same.
    server = await startServer({ GREY_HOLD_EXPIRY_EVERY_MS: "3600000" });
    grey = connect(server.address);
    admin = new pg.Client(server.databaseUrl);
    await admin.connect();
    const email = `${randomUUID()}@example.com`;
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name: "Ada", email, metadata: {} });
    userId = user!.id;
  });
  after(async () => {
    const { faultCount, faults } = await grey.ledger.checkIntegrity({ maxFaults: 10 });
    grey.close();
    await admin.end();
    await server.stop();
    expect(faults).to.deep.equal([]);
    expect(faultCount).to.equal(0n);
  });

  const usd = (minorUnits: bigint) => ({ currencyCode: "USD", minorUnits });
  const asked = () => ({ requestId: randomUUID(), description: "", metadata: {}, externalReference: "" });

  async function openWallet(minorUnits = 0n): Promise<string> {
    const { wallet } = await grey.wallets.createWallet({
      requestId: randomUUID(),
      userId,
      currencyCode: "USD",
      label: "",
      metadata: {},
      initialBalance: usd(minorUnits),
    });
    return wallet!.id;
  }

  function holdRequest(walletId: string, minorUnits: bigint, over: Partial<HoldRequest> = {}): HoldRequest {
    return {
      ...asked(),
      walletId,
      toWalletId: "",
      amount: usd(minorUnits),
      expiry: undefined,
      preconditions: [],
      dryRun: false,
      ...over,
    };
  }

  function captureRequest(holdId: string, over: Partial<CaptureHoldRequest> = {}): CaptureHoldRequest {
    return {
      ...asked(),
      holdId,
      amount: undefined,
      final: false,
      to: undefined,
      preconditions: [],
      dryRun: false,
      ...over,
    };
  }

  async function hold(walletId: string, minorUnits: bigint, over: Partial<HoldRequest> = {}): Promise<string> {
    return (await grey.transactions.hold(holdRequest(walletId, minorUnits, over))).hold!.id;
  }

  /** posted, available, pending out, pending in */
  async function balance(walletId: string): Promise<bigint[]> {
    const { balance: one } = await grey.wallets.getBalance({ walletId });
    return [one!.posted, one!.available, one!.pendingOutgoing, one!.pendingIncoming].map((money) => money!.minorUnits);
  }

  async function stateOf(id: string): Promise<string> {
    const { hold: one } = await grey.transactions.getHold({ id });
    return HoldState[one!.state];
  }

  /** Makes a hold's time pass, by the database's clock and for whoever remembers the hold. */
  async function letExpire(...ids: string[]): Promise<void> {
    for (const id of ids) {
      await admin.query("UPDATE holds SET expire_time = clock_timestamp(), revision = revision + 1 WHERE id = $1", [
        id,
      ]);
      // Its steps are to go on telling the same.
      await admin.query(
        `UPDATE transactions t SET hold_expire_time = h.expire_time FROM holds h
         WHERE h.id = $1 AND t.id = (SELECT id FROM transactions WHERE hold_id = $1 ORDER BY journal_index DESC LIMIT 1)`,
        [id],
      );
    }
  }

  it("reserves: the money stays posted and cannot be spent", async () => {
    const [wallet, other] = [await openWallet(100n), await openWallet()];
    const {
      transaction,
      hold: made,
      balances,
      replayed,
    } = await grey.transactions.hold(holdRequest(wallet, 80n, { description: "room 12", metadata: { booking: "7" } }));
    expect(transaction).to.deep.include({
      kind: TransactionKind.HOLD,
      entries: [],
      description: "room 12",
      holdId: made!.id,
    });
    expect(transaction).to.deep.include({ metadata: { booking: "7" }, debitAccountId: wallet, creditAccountId: "" });
    expect(made).to.deep.include({ id: transaction!.id, walletId: wallet, toWalletId: "", state: HoldState.ACTIVE });
    expect(made).to.deep.include({ amount: usd(80n), captured: usd(0n), remaining: usd(80n) });
    expect(made!.createTime).to.deep.equal(transaction!.createTime);
    expect(made!.expireTime!.seconds - made!.createTime!.seconds, "seven days").to.equal(604_800n);
    expect(replayed).to.equal(false);
    expect(balances.map((one) => [one.walletId, one.available!.minorUnits, one.version])).to.deep.equal([
      [wallet, 20n, 2n],
    ]);
    expect(await balance(wallet)).to.deep.equal([100n, 20n, 80n, 0n]);
    const transfer = {
      ...asked(),
      fromWalletId: wallet,
      toWalletId: other,
      amount: usd(21n),
      effectiveTime: undefined,
    };
    const error = await refusal(grey.transactions.transfer(transfer));
    expect(error.info).to.include({ available_minor_units: "20", required_minor_units: "21" });
    await grey.transactions.transfer({ ...transfer, requestId: randomUUID(), amount: usd(20n) });
    expect((await refusal(grey.transactions.hold(holdRequest(wallet, 1n)))).reason).to.equal("INSUFFICIENT_FUNDS");
    expect((await grey.transactions.getHold({ id: made!.id })).hold).to.deep.equal(made);
  });

  it("for a wallet shows there as pending, and is not spendable before it is captured", async () => {
    const [wallet, shop] = [await openWallet(100n), await openWallet()];
    const id = await hold(wallet, 60n, { toWalletId: shop });
    expect(await balance(shop)).to.deep.equal([0n, 0n, 0n, 60n]);
    const reply = await grey.transactions.captureHold(captureRequest(id));
    expect(reply.transaction!.entries.map((entry) => [entry.accountId, entry.amount!.minorUnits])).to.deep.equal([
      [wallet, 60n],
      [shop, 60n],
    ]);
    expect(reply.hold).to.deep.include({ state: HoldState.CAPTURED, captured: usd(60n), remaining: usd(0n) });
    expect(await balance(wallet)).to.deep.equal([40n, 40n, 0n, 0n]);
    expect(await balance(shop)).to.deep.equal([60n, 60n, 0n, 0n]);
    const fixed = await hold(wallet, 5n, { toWalletId: shop });
    const elsewhere = { $case: "toSystemAccount", value: "fees" } as const;
    const error = await refusal(grey.transactions.captureHold(captureRequest(fixed, { to: elsewhere })));
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "HOLD_HAS_DESTINATION" });
    expect(error.info).to.include({ hold_id: fixed, wallet_id: shop });
  });

  it("is captured in parts, wherever each is to go, up to what is held", async () => {
    const [wallet, shop] = [await openWallet(100n), await openWallet()];
    const id = await hold(wallet, 50n);
    const capture = (minorUnits: bigint, over: Partial<CaptureHoldRequest> = {}) =>
      grey.transactions.captureHold(captureRequest(id, { amount: usd(minorUnits), ...over }));
    await capture(10n, { to: { $case: "toWalletId", value: shop } });
    await capture(5n, { to: { $case: "toSystemAccount", value: "fees" } });
    const { hold: after } = await capture(5n);
    expect(after).to.deep.include({ state: HoldState.ACTIVE, captured: usd(20n), remaining: usd(30n) });
    expect(await balance(wallet)).to.deep.equal([80n, 50n, 30n, 0n]);
    const error = await refusal(capture(31n));
    expect(error).to.include({ code: "FAILED_PRECONDITION", reason: "HOLD_EXCEEDED" });
    expect(error.info).to.include({ remaining_minor_units: "30", required_minor_units: "31", currency_code: "USD" });
    const { hold: last } = await capture(10n, { final: true });
    expect(last).to.deep.include({ state: HoldState.CAPTURED, captured: usd(30n), remaining: usd(0n) });
    expect(await balance(wallet)).to.deep.equal([70n, 70n, 0n, 0n]);
    const ended = await refusal(capture(1n));
    expect(ended).to.include({ code: "FAILED_PRECONDITION", reason: "HOLD_ENDED" });
    expect(ended.info).to.include({ hold_id: id, hold_state: "CAPTURED" });
  });

  it("may be ended by a final capture of nothing; a capture of nothing that is not final is refused", async () => {
    const [wallet, shop] = [await openWallet(10n), await openWallet()];
    for (const toWalletId of ["", shop]) {
      const id = await hold(wallet, 10n, { toWalletId });
      const error = await refusal(grey.transactions.captureHold(captureRequest(id, { amount: usd(0n) })));
      expect([...error.violations.keys()]).to.deep.equal(["amount"]);
      const reply = await grey.transactions.captureHold(captureRequest(id, { amount: usd(0n), final: true }));
      expect(reply.hold).to.deep.include({ state: HoldState.RELEASED, captured: usd(0n) });
      expect(reply.transaction!.entries).to.deep.equal([]);
      expect(await balance(wallet)).to.deep.equal([10n, 10n, 0n, 0n]);
      expect(await balance(shop)).to.deep.equal([0n, 0n, 0n, 0n]);
    }
  });

  it("is increased within the limits, and extended to a later time only", async () => {
    const wallet = await openWallet(100n);
    const { hold: made } = await grey.transactions.hold(holdRequest(wallet, 60n));
    const holdId = made!.id;
    const more = await grey.transactions.increaseHold({ ...asked(), holdId, amount: usd(40n) });
    expect(more.hold).to.deep.include({ amount: usd(100n), remaining: usd(100n) });
    const error = await refusal(grey.transactions.increaseHold({ ...asked(), holdId, amount: usd(1n) }));
    expect(error.reason).to.equal("INSUFFICIENT_FUNDS");
    const later = { $case: "expireTime" as const, value: { seconds: made!.expireTime!.seconds + 60n, nanos: 5_000 } };
    const { hold: extended } = await grey.transactions.extendHold({ ...asked(), holdId, expiry: later });
    expect(extended!.expireTime).to.deep.equal(later.value);
    for (const expiry of [later, { $case: "expiresIn" as const, value: { seconds: 60n, nanos: 0 } }]) {
      const refused = await refusal(grey.transactions.extendHold({ ...asked(), holdId, expiry }));
      expect(refused).to.include({ code: "INVALID_ARGUMENT", reason: "EXPIRY_INVALID" });
    }
    const past = { $case: "expireTime" as const, value: { seconds: 1_700_000_000n, nanos: 0 } };
    const late = await refusal(grey.transactions.hold(holdRequest(wallet, 1n, { expiry: past })));
    expect(late.reason).to.equal("EXPIRY_INVALID");
    const { hold: now } = await grey.transactions.getHold({ id: holdId });
    expect(now).to.deep.equal(extended);
  });

  it("cannot be increased beyond int64, even when what it held before was captured", async () => {
    const most = 2n ** 63n - 1n;
    const { ledger, wallets, transactions } = grey;
    await ledger.createCurrency({ requestId: randomUUID(), code: "VASTH", exponent: 18, name: "Vast" });
    const vast = (minorUnits: bigint) => ({ currencyCode: "VASTH", minorUnits });
    const { wallet } = await wallets.createWallet({
      requestId: randomUUID(),
      userId,
      currencyCode: "VASTH",
      label: "",
      metadata: {},
      initialBalance: vast(most),
    });
    const walletId = wallet!.id;
    const { hold: made } = await transactions.hold({ ...holdRequest(walletId, 1n), amount: vast(most) });
    const holdId = made!.id;
    await transactions.captureHold(captureRequest(holdId, { amount: vast(most - 1n) }));
    await transactions.deposit({
      ...asked(),
      walletId,
      amount: vast(10n),
      systemAccount: "",
      effectiveTime: undefined,
    });
    const error = await refusal(transactions.increaseHold({ ...asked(), holdId, amount: vast(5n) }));
    expect(error).to.include({ code: "OUT_OF_RANGE", reason: "BALANCE_OVERFLOW" });
    await transactions.releaseHold({ ...asked(), holdId });
  });

  it("is refused where what is pending would leave int64, though the limits allow it", async () => {
    const most = 2n ** 63n - 1n;
    const [debtor, payee] = [await openWallet(), await openWallet()];
    for (const walletId of [debtor, payee])
      await grey.ledger.setLimits(
        SetLimitsRequest.fromPartial({
          requestId: randomUUID(),
          account: { $case: "walletId", value: walletId },
          limits: { minBalance: -most },
          reason: "overdraft",
        }),
      );
    // Below 0 the payee has room for more than int64 holds.
    await grey.transactions.transfer(transferRequest(payee, debtor, 10n));
    const id = await hold(debtor, 5n, { toWalletId: payee });
    const dry = holdRequest(debtor, most, { dryRun: true });
    for (const ask of [
      () => grey.transactions.hold(holdRequest(debtor, most)),
      () => grey.transactions.hold(dry),
      () => grey.transactions.hold(holdRequest(debtor, most, { toWalletId: payee })),
      () =>
        grey.transactions.increaseHold(IncreaseHoldRequest.fromPartial({ ...asked(), holdId: id, amount: usd(most) })),
    ])
      expect(await refusal(ask())).to.include({ code: "OUT_OF_RANGE", reason: "BALANCE_OVERFLOW" });
    expect(await balance(debtor)).to.deep.equal([10n, 5n, 5n, 0n]);
    await hold(debtor, most - 5n);
    expect(await balance(debtor)).to.deep.equal([10n, 10n - most, most, 0n]);
  });

  it("is released once, also when its wallet is frozen, when nothing else is taken", async () => {
    const wallet = await openWallet(10n);
    const id = await hold(wallet, 10n);
    await admin.query("UPDATE accounts SET state = 2 WHERE id = $1", [wallet]);
    for (const attempt of [
      grey.transactions.captureHold(captureRequest(id)),
      grey.transactions.increaseHold({ ...asked(), holdId: id, amount: usd(1n) }),
      grey.transactions.hold(holdRequest(wallet, 1n)),
    ]) {
      expect((await refusal(attempt)).reason).to.equal("WALLET_FROZEN");
    }
    const { hold: released } = await grey.transactions.releaseHold({ ...asked(), holdId: id });
    expect(released).to.deep.include({ state: HoldState.RELEASED, remaining: usd(0n) });
    expect(await balance(wallet)).to.deep.equal([10n, 10n, 0n, 0n]);
    const error = await refusal(grey.transactions.releaseHold({ ...asked(), holdId: id }));
    expect(error.info).to.include({ hold_state: "RELEASED" });
  });

  it("gives the same request the same answer for ever, whatever became of it, and another request none", async () => {
    const wallet = await openWallet(100n);
    const request = holdRequest(wallet, 30n);
    const first = await grey.transactions.hold(request);
    const capture = captureRequest(first.hold!.id, { amount: usd(10n) });
    const captured = await grey.transactions.captureHold(capture);
    const refused = captureRequest(first.hold!.id, { amount: usd(90n) });
    const exceeded = await refusal(grey.transactions.captureHold(refused));
    await grey.transactions.releaseHold({ ...asked(), holdId: first.hold!.id });

    expect(await grey.transactions.hold(request)).to.deep.equal({ ...first, replayed: true });
    expect(await grey.transactions.captureHold(capture)).to.deep.equal({ ...captured, replayed: true });
    const again = await refusal(grey.transactions.captureHold(refused));
    expect(again.info).to.deep.equal({ ...exceeded.info, replayed: "true" });
    const differs = async (other: Promise<unknown>): Promise<string | undefined> => {
      const error: CallError = await refusal(other);
      expect(error).to.include({ code: "ALREADY_EXISTS", reason: "REQUEST_ID_REUSED" });
      return error.info.differs;
    };
    const expiry = { $case: "expiresIn" as const, value: { seconds: 60n, nanos: 0 } };
    expect(await differs(grey.transactions.hold({ ...request, amount: usd(31n) }))).to.equal("amount.minor_units");
    expect(await differs(grey.transactions.hold({ ...request, expiry }))).to.equal("expires_in");
    expect(await differs(grey.transactions.hold({ ...request, description: "x" }))).to.equal("description");
    expect(await differs(grey.transactions.captureHold({ ...capture, final: true }))).to.equal("final");
    expect(await differs(grey.transactions.captureHold({ ...capture, requestId: request.requestId }))).to.equal(
      "method",
    );
    const other = await hold(wallet, 1n);
    expect(await differs(grey.transactions.captureHold({ ...capture, holdId: other }))).to.equal("hold_id");
  });

  it("is not found under an id that is no hold's, and uses no request id up", async () => {
    const wallet = await openWallet(10n);
    const request = captureRequest(randomUUID());
    for (const holdId of [randomUUID(), wallet]) {
      const error = await refusal(grey.transactions.captureHold({ ...request, holdId }));
      expect(error).to.include({ code: "NOT_FOUND", reason: "HOLD_NOT_FOUND" });
    }
    expect((await refusal(grey.transactions.getHold({ id: wallet }))).reason).to.equal("HOLD_NOT_FOUND");
    const holdId = await hold(wallet, 10n);
    await grey.transactions.captureHold({ ...request, holdId });
  });

  it("whose time has passed is not captured, even before it is looked for; then it expires, once, in the order of time", async () => {
    const [wallet, shop] = [await openWallet(30n), await openWallet()];
    const ids = [await hold(wallet, 10n, { toWalletId: shop }), await hold(wallet, 10n), await hold(wallet, 10n)];
    await grey.transactions.captureHold(captureRequest(ids[1]!, { amount: usd(4n) }));
    await letExpire(...ids.toReversed());
    for (const attempt of [
      () => grey.transactions.captureHold(captureRequest(ids[0]!)),
      () => grey.transactions.releaseHold({ ...asked(), holdId: ids[1]! }),
      () => grey.transactions.increaseHold({ ...asked(), holdId: ids[2]!, amount: usd(1n) }),
    ]) {
      expect(await refusal(attempt())).to.include({ code: "FAILED_PRECONDITION", reason: "HOLD_EXPIRED" });
    }
    expect(await balance(wallet)).to.deep.equal([26n, 0n, 26n, 0n]);
    const settings = { DATABASE_URL: server.databaseUrl, GREY_HOLD_EXPIRY_EVERY_MS: "20" };
    const sweepers = [await startServer(settings), await startServer(settings)];
    await eventually("the holds to expire", async () =>
      (await Promise.all(ids.map(stateOf))).every((state) => state === "EXPIRED"),
    );
    for (const sweeper of sweepers) await sweeper.stop();
    expect(await balance(wallet)).to.deep.equal([26n, 26n, 0n, 0n]);
    expect(await balance(shop)).to.deep.equal([0n, 0n, 0n, 0n]);
    const { rows } = await admin.query<{ hold_id: string; amount: string }>(
      "SELECT hold_id, amount FROM transactions WHERE kind = 10 AND hold_id = ANY($1) ORDER BY journal_index",
      [ids],
    );
    expect(rows).to.deep.equal([
      { hold_id: ids[2], amount: "10" },
      { hold_id: ids[1], amount: "6" },
      { hold_id: ids[0], amount: "10" },
    ]);
    expect((await refusal(grey.transactions.captureHold(captureRequest(ids[0]!)))).reason).to.equal("HOLD_EXPIRED");
  });

  it("is never put off to an earlier time, though extensions come at once", async () => {
    const wallet = await openWallet(100n);
    for (let round = 0; round < 10; round += 1) {
      const holdId = await hold(wallet, 1n);
      const later = { $case: "expiresIn" as const, value: { seconds: 864_000n, nanos: 0 } };
      const sooner = { $case: "expiresIn" as const, value: { seconds: 691_200n, nanos: 0 } };
      const told = await Promise.allSettled(
        [later, sooner].map((expiry) => grey.transactions.extendHold({ ...asked(), holdId, expiry })),
      );
      const { hold: now } = await grey.transactions.getHold({ id: holdId });
      for (const result of told) {
        if (result.status === "fulfilled")
          expect(now!.expireTime!.seconds >= result.value.hold!.expireTime!.seconds).to.equal(true);
      }
    }
  });

  it("never expires early, and not long after its time", async () => {
    const sweeper = await startServer({ DATABASE_URL: server.databaseUrl, GREY_HOLD_EXPIRY_EVERY_MS: "20" });
    const wallet = await openWallet(10n);
    const expiry = { $case: "expiresIn" as const, value: { seconds: 1n, nanos: 0 } };
    const ids = await Promise.all(Array.from({ length: 5 }, () => hold(wallet, 1n, { expiry })));
    await eventually("the holds to expire", async () =>
      (await Promise.all(ids.map(stateOf))).every((state) => state === "EXPIRED"),
    );
    await sweeper.stop();
    const { rows } = await admin.query<{ early: boolean; exact: boolean }>(
      `SELECT t.create_time < h.expire_time AS early, h.expire_time = h.create_time + interval '1 second' AS exact
       FROM transactions t JOIN holds h ON h.id = t.hold_id WHERE t.kind = 10 AND h.id = ANY($1)`,
      [ids],
    );
    expect(rows).to.deep.equal(ids.map(() => ({ early: false, exact: true })));
  });

  describe("in a race is won by exactly one:", () => {
    const races: readonly (readonly [title: string, attempts: (id: string) => Promise<HoldResponse>[]])[] = [
      [
        "capture against release",
        (holdId) => [
          grey.transactions.captureHold(captureRequest(holdId)),
          grey.transactions.releaseHold({ ...asked(), holdId }),
        ],
      ],
      [
        "two final captures",
        (holdId) => [
          grey.transactions.captureHold(captureRequest(holdId, { amount: usd(3n), final: true })),
          grey.transactions.captureHold(captureRequest(holdId, { amount: usd(4n), final: true })),
        ],
      ],
      [
        "two captures of more than the half",
        (holdId) => [
          grey.transactions.captureHold(captureRequest(holdId, { amount: usd(6n) })),
          grey.transactions.captureHold(captureRequest(holdId, { amount: usd(7n) })),
        ],
      ],
    ];
    for (const [title, attempts] of races) {
      it(title, async () => {
        const other = await startServer({ DATABASE_URL: server.databaseUrl, GREY_HOLD_EXPIRY_EVERY_MS: "3600000" });
        const there = connect(other.address);
        const here = grey;
        try {
          for (let round = 0; round < 20; round += 1) {
            const wallet = await openWallet(10n);
            const id = await hold(wallet, 10n);
            const under = attempts(id);
            // Half of the rounds on two servers.
            if (round % 2 === 1) {
              grey = there;
              under.push(...attempts(id));
              grey = here;
            }
            const results = await Promise.allSettled(under);
            const { rows } = await admin.query<{ posted: number; captured: string }>(
              `SELECT count(*)::int AS posted, coalesce(sum(amount) FILTER (WHERE kind = 8), 0) AS captured
               FROM transactions WHERE hold_id = $1 AND state = 1 AND kind > 5`,
              [id],
            );
            expect(rows[0]!.posted, "steps that won").to.equal(1);
            expect(results.filter(({ status }) => status === "fulfilled")).to.have.length(1);
            expect((await balance(wallet))[0]).to.equal(10n - BigInt(rows[0]!.captured));
          }
        } finally {
          grey = here;
          there.close();
          await other.stop();
        }
      });
    }

    it("capture against expiry", async () => {
      const sweeper = await startServer({ DATABASE_URL: server.databaseUrl, GREY_HOLD_EXPIRY_EVERY_MS: "10" });
      const wallet = await openWallet(1_000n);
      const expiry = { $case: "expiresIn" as const, value: { seconds: 1n, nanos: 0 } };
      const ids = await Promise.all(Array.from({ length: 20 }, () => hold(wallet, 1n, { expiry })));
      const outcomes = await Promise.all(
        ids.map(async (id) => {
          // Until the one or the other has ended it.
          for (let amount = 1n; ; amount += 1n) {
            const result = await grey.transactions
              .captureHold(captureRequest(id, amount < 200n ? { amount: usd(2n) } : {}))
              .catch((error: CallError) => error.reason);
            if (result === "HOLD_EXPIRED") return "EXPIRED";
            if (typeof result === "object") return "CAPTURED";
          }
        }),
      );
      await eventually("the holds to end", async () =>
        (await Promise.all(ids.map(stateOf))).every((s) => s !== "ACTIVE"),
      );
      await sweeper.stop();
      expect(await Promise.all(ids.map(stateOf))).to.deep.equal(outcomes);
      const { rows } = await admin.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM transactions WHERE hold_id = ANY($1) AND state = 1 AND kind IN (8, 10)",
        [ids],
      );
      expect(rows[0]!.n).to.equal(ids.length);
    });
  });

  it("is listed under its wallet, newest first, in pages; ended ones may be left out", async () => {
    const wallet = await openWallet(100n);
    const ids: string[] = [];
    for (let index = 0; index < 7; index += 1) ids.push(await hold(wallet, 1n));
    await grey.transactions.releaseHold({ ...asked(), holdId: ids[3]! });
    const listed = async (activeOnly: boolean): Promise<string[]> => {
      const found: string[] = [];
      let pageToken = "";
      do {
        const page = await grey.transactions.listHolds({ walletId: wallet, activeOnly, pageSize: 3, pageToken });
        found.push(...page.holds.map((one) => one.id));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      return found;
    };
    expect(await listed(false)).to.deep.equal(ids.toReversed());
    expect(await listed(true)).to.deep.equal(ids.toReversed().filter((id) => id !== ids[3]));
    const first = await grey.transactions.listHolds({
      walletId: wallet,
      activeOnly: false,
      pageSize: 3,
      pageToken: "",
    });
    const mixed = { walletId: wallet, activeOnly: true, pageSize: 3, pageToken: first.nextPageToken };
    expect((await refusal(grey.transactions.listHolds(mixed))).reason).to.equal("PAGE_TOKEN_INVALID");
    const nowhere = { walletId: randomUUID(), activeOnly: false, pageSize: 3, pageToken: "" };
    expect((await refusal(grey.transactions.listHolds(nowhere))).reason).to.equal("WALLET_NOT_FOUND");
  });

  it("keeps its user from being deleted", async () => {
    const email = `${randomUUID()}@example.com`;
    const { user } = await grey.users.createUser({ requestId: randomUUID(), name: "Eve", email, metadata: {} });
    const { wallet } = await grey.wallets.createWallet({
      requestId: randomUUID(),
      userId: user!.id,
      currencyCode: "USD",
      label: "",
      metadata: {},
      initialBalance: undefined,
    });
    const payer = await openWallet(10n);
    const id = await hold(payer, 10n, { toWalletId: wallet!.id });
    const remove = () => grey.users.deleteUser({ requestId: randomUUID(), userId: user!.id, etag: "" });
    expect((await refusal(remove())).reason).to.equal("USER_HAS_FUNDS");
    await grey.transactions.releaseHold({ ...asked(), holdId: id });
    await remove();
  });
});
