import { randomUUID } from "node:crypto";
import { expect } from "chai";
import pg from "pg";
import { BatchMode, BatchTransferRequest } from "../../generated/grey/transaction/v1/batch.js";
import { CreateScheduleRequest } from "../../generated/grey/schedule/v1/schedule.js";
import { UserServiceClient } from "../../generated/grey/user/v1/user_service.js";
import { credentials } from "@grpc/grpc-js";
import { formatAmount } from "../../src/base/money.js";
import { call, connect, refusal, type CallError, type Clients } from "../support/client.js";
import { eventually, createRoute } from "../support/process.js";
import { depositRequest } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const HEADERS = { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01` };

/** What must not be told to a caller: statements, tables, files, stacks, the driver. */
const LEAKS =
  /\b(select|insert|update|relation|column|constraint|postgres|typeorm|pg_|sql)\b|\bat .*:\d+|node_modules|\/src\//i;

describe("an error", () => {
  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let userId: string;
  let walletId: string;
  let otherWalletId: string;

  before(async () => {
    server = await startServer({ GREY_RETRY_AFTER_MS: "1500" });
    grey = connect(server.address);
    admin = new pg.Client(server.databaseUrl);
    await admin.connect();
    const made = await grey.users.createUser(user());
    userId = made.user!.id;
    walletId = await createWallet("USD");
    otherWalletId = await createWallet("USD");
  });
  after(async () => {
    grey.close();
    await admin.end();
    await server.stop();
  });

  /** A request that is refused for each reason that a caller can bring about, and what else the error must tell. */
  const REFUSALS: readonly {
    reason: string;
    code: string;
    metadata: readonly string[];
    ask: (requestId: string) => Promise<unknown>;
  }[] = [
    {
      reason: "INVALID_REQUEST",
      code: "INVALID_ARGUMENT",
      metadata: [],
      ask: () => grey.users.listUsers({ pageSize: -1, pageToken: "" }, HEADERS),
    },
    {
      reason: "REQUEST_ID_REUSED",
      code: "ALREADY_EXISTS",
      metadata: ["request_id", "differs"],
      ask: async (requestId) => {
        await grey.users.createUser({ ...user(), requestId });
        return grey.users.createUser({ ...user(), requestId }, HEADERS);
      },
    },
    {
      reason: "PAGE_TOKEN_INVALID",
      code: "INVALID_ARGUMENT",
      metadata: [],
      ask: () => grey.users.listUsers({ pageSize: 1, pageToken: "AAAA" }, HEADERS),
    },
    {
      reason: "ETAG_MISMATCH",
      code: "ABORTED",
      metadata: ["etag"],
      ask: (requestId) => grey.users.deleteUser({ requestId, userId, etag: "old" }, HEADERS),
    },
    {
      reason: "USER_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["user_id"],
      ask: () => grey.users.getUser({ by: { $case: "id", value: randomUUID() } }, HEADERS),
    },
    {
      reason: "EMAIL_TAKEN",
      code: "ALREADY_EXISTS",
      metadata: [],
      ask: async (requestId) => {
        const first = user();
        await grey.users.createUser(first);
        return grey.users.createUser({ ...first, requestId }, HEADERS);
      },
    },
    {
      reason: "USER_HAS_FUNDS",
      code: "FAILED_PRECONDITION",
      metadata: ["user_id", "wallet_id"],
      ask: (requestId) => grey.users.deleteUser({ requestId, userId, etag: "" }, HEADERS),
    },
    {
      reason: "WALLET_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["wallet_id"],
      ask: () => grey.wallets.getBalance({ walletId: randomUUID() }, HEADERS),
    },
    {
      reason: "WALLET_FROZEN",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const frozen = await createWallet("USD");
        await grey.wallets.freezeWallet({ requestId: randomUUID(), walletId: frozen, reason: "a case" });
        return grey.transactions.transfer({ ...transfer(1n), requestId, fromWalletId: frozen }, HEADERS);
      },
    },
    {
      reason: "WALLET_CLOSED",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const { user: gone } = await grey.users.createUser(user());
        const closed = await createWallet("USD", gone!.id, 0n);
        await grey.users.deleteUser({ requestId: randomUUID(), userId: gone!.id, etag: "" });
        return grey.transactions.transfer({ ...transfer(1n), requestId, toWalletId: closed }, HEADERS);
      },
    },
    {
      reason: "WALLET_NOT_FROZEN",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id"],
      ask: (requestId) => grey.wallets.unfreezeWallet({ requestId, walletId, reason: "over" }, HEADERS),
    },
    {
      reason: "WALLET_NOT_CLOSED",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id"],
      ask: (requestId) => grey.wallets.reopenWallet({ requestId, walletId, reason: "back" }, HEADERS),
    },
    {
      reason: "WALLET_NOT_EMPTY",
      code: "FAILED_PRECONDITION",
      metadata: [
        "wallet_id",
        "currency_code",
        "posted_minor_units",
        "pending_outgoing_minor_units",
        "pending_incoming_minor_units",
      ],
      ask: (requestId) => grey.wallets.closeWallet({ requestId, walletId, reason: "left" }, HEADERS),
    },
    {
      reason: "ACCOUNT_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["system_account", "currency_code"],
      ask: () =>
        grey.ledger.getAccount(
          { by: { $case: "systemAccount", value: { name: "nowhere", currencyCode: "USD" } } },
          HEADERS,
        ),
    },
    {
      reason: "CURRENCY_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["currency_code"],
      ask: (requestId) => grey.wallets.createWallet({ ...wallet("ZQZ"), requestId }, HEADERS),
    },
    {
      reason: "CURRENCY_EXISTS",
      code: "ALREADY_EXISTS",
      metadata: ["currency_code"],
      ask: (requestId) => grey.ledger.createCurrency({ requestId, code: "USD", exponent: 2, name: "Dollar" }, HEADERS),
    },
    {
      reason: "TRANSACTION_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["transaction_id"],
      ask: () => grey.transactions.getTransaction({ by: { $case: "id", value: randomUUID() } }, HEADERS),
    },
    {
      reason: "INSUFFICIENT_FUNDS",
      code: "FAILED_PRECONDITION",
      metadata: [
        "wallet_id",
        "available_minor_units",
        "required_minor_units",
        "currency_code",
        "transaction_id",
        "journal_index",
      ],
      ask: (requestId) => grey.transactions.transfer({ ...transfer(1_000_000n), requestId }, HEADERS),
    },
    {
      reason: "CURRENCY_MISMATCH",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id", "wallet_currency_code", "amount_currency_code", "transaction_id", "journal_index"],
      ask: async (requestId) =>
        grey.transactions.transfer({ ...transfer(1n), requestId, toWalletId: await createWallet("EUR") }, HEADERS),
    },
    {
      reason: "SAME_WALLET",
      code: "INVALID_ARGUMENT",
      metadata: ["wallet_id", "transaction_id", "journal_index"],
      ask: (requestId) => grey.transactions.transfer({ ...transfer(1n), requestId, toWalletId: walletId }, HEADERS),
    },
    {
      reason: "BALANCE_OVERFLOW",
      code: "OUT_OF_RANGE",
      metadata: ["account_id", "transaction_id", "journal_index"],
      ask: (requestId) =>
        grey.transactions.deposit({ ...transfer(2n ** 63n - 1n), requestId, walletId, systemAccount: "" }, HEADERS),
    },
    {
      reason: "HOLD_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["hold_id"],
      ask: (requestId) => grey.transactions.releaseHold({ ...step(randomUUID()), requestId }, HEADERS),
    },
    {
      reason: "HOLD_ENDED",
      code: "FAILED_PRECONDITION",
      metadata: ["hold_id", "hold_state", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const id = await hold();
        await grey.transactions.releaseHold(step(id));
        return grey.transactions.releaseHold({ ...step(id), requestId }, HEADERS);
      },
    },
    {
      reason: "HOLD_EXPIRED",
      code: "FAILED_PRECONDITION",
      metadata: ["hold_id", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const id = await hold();
        await admin.query("UPDATE holds SET expire_time = clock_timestamp(), revision = revision + 1 WHERE id = $1", [
          id,
        ]);
        return grey.transactions.releaseHold({ ...step(id), requestId }, HEADERS);
      },
    },
    {
      reason: "HOLD_EXCEEDED",
      code: "FAILED_PRECONDITION",
      metadata: [
        "hold_id",
        "remaining_minor_units",
        "required_minor_units",
        "currency_code",
        "transaction_id",
        "journal_index",
      ],
      ask: async (requestId) => {
        const capture = { ...step(await hold()), amount: { currencyCode: "USD", minorUnits: 2n } };
        return grey.transactions.captureHold({ ...capture, requestId, final: false, to: undefined }, HEADERS);
      },
    },
    {
      reason: "HOLD_HAS_DESTINATION",
      code: "FAILED_PRECONDITION",
      metadata: ["hold_id", "wallet_id", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const capture = { ...step(await hold(await createWallet("USD"))), amount: undefined, final: false };
        const to = { $case: "toSystemAccount", value: "cash" } as const;
        return grey.transactions.captureHold({ ...capture, requestId, to }, HEADERS);
      },
    },
    {
      reason: "PRECONDITION_FAILED",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id", "precondition", "expected", "actual", "transaction_id", "journal_index"],
      ask: (requestId) => {
        const anything = { minBalanceAfter: undefined, maxBalanceAfter: undefined };
        const preconditions = [{ walletId, expectedVersion: 99n, ...anything }];
        return grey.transactions.transfer({ ...transfer(1n), requestId, preconditions }, HEADERS);
      },
    },
    {
      reason: "MAX_BALANCE_EXCEEDED",
      code: "FAILED_PRECONDITION",
      metadata: [
        "account_id",
        "currency_code",
        "max_balance_minor_units",
        "room_minor_units",
        "required_minor_units",
        "transaction_id",
        "journal_index",
      ],
      ask: async (requestId) => {
        const toWalletId = await createWallet("USD", userId, 0n);
        await grey.ledger.setLimits(limits(toWalletId, { maxBalance: 0n }));
        return grey.transactions.transfer({ ...transfer(1n), requestId, toWalletId }, HEADERS);
      },
    },
    {
      reason: "VELOCITY_EXCEEDED",
      code: "FAILED_PRECONDITION",
      metadata: [
        "wallet_id",
        "currency_code",
        "limit",
        "measure",
        "max",
        "used",
        "required",
        "window_seconds",
        "transaction_id",
        "journal_index",
      ],
      ask: async (requestId) => {
        const fromWalletId = await createWallet("USD");
        const none = { name: "none", direction: 1, kinds: [], windowSeconds: 60n, maxAmount: 0n, maxCount: undefined };
        await grey.ledger.setLimits(limits(fromWalletId, { velocity: [none] }));
        return grey.transactions.transfer({ ...transfer(1n), requestId, fromWalletId }, HEADERS);
      },
    },
    {
      reason: "LIMIT_BREACHED",
      code: "FAILED_PRECONDITION",
      metadata: ["account_id", "limit", "currency_code", "limit_minor_units", "actual_minor_units"],
      ask: (requestId) => grey.ledger.setLimits({ ...limits(walletId, { minBalance: 10_000n }), requestId }, HEADERS),
    },
    {
      reason: "ACCOUNT_EXISTS",
      code: "ALREADY_EXISTS",
      metadata: ["system_account", "currency_code"],
      ask: (requestId) => {
        const systemAccount = { name: "cash", currencyCode: "USD" };
        const any = { normalSide: 1, minBalance: undefined, maxBalance: undefined };
        return grey.ledger.createAccount({ requestId, systemAccount, ...any }, HEADERS);
      },
    },
    {
      reason: "RATE_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["source_currency_code", "target_currency_code"],
      ask: () =>
        grey.ledger.getRate({ sourceCurrencyCode: "USD", targetCurrencyCode: "EUR", atTime: undefined }, HEADERS),
    },
    {
      reason: "SAME_CURRENCY",
      code: "INVALID_ARGUMENT",
      metadata: ["currency_code", "transaction_id", "journal_index"],
      ask: (requestId) => grey.transactions.exchange({ ...exchange("1"), requestId }, HEADERS),
    },
    {
      reason: "QUOTE_INVALID",
      code: "INVALID_ARGUMENT",
      metadata: [],
      ask: (requestId) => {
        const by = { $case: "quote", value: "AAAA" } as const;
        return grey.transactions.exchange({ ...exchange("1"), sourceAmount: undefined, by, requestId }, HEADERS);
      },
    },
    {
      reason: "QUOTE_EXPIRED",
      code: "FAILED_PRECONDITION",
      metadata: ["expire_time", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const pair = { sourceCurrencyCode: "USD", targetCurrencyCode: "CHF" };
        const any = { rate: "0.8", validFrom: undefined, validUntil: undefined };
        await grey.ledger.setRate({ requestId: randomUUID(), ...pair, ...any });
        const amount = { $case: "sourceMinorUnits", value: 10n } as const;
        const { quote } = await grey.transactions.getQuote({ ...pair, amount, expiresIn: { seconds: 1n, nanos: 0 } });
        const asked = {
          ...exchange("1"),
          toWalletId: await createWallet("CHF"),
          sourceAmount: undefined,
          by: { $case: "quote", value: quote } as const,
        };
        await eventually("the quote has expired", () =>
          grey.transactions.exchange({ ...asked, dryRun: true }).then(
            () => false,
            () => true,
          ),
        );
        return grey.transactions.exchange({ ...asked, requestId }, HEADERS);
      },
    },
    {
      reason: "EXCHANGE_AMOUNT_INVALID",
      code: "OUT_OF_RANGE",
      metadata: ["source_currency_code", "target_currency_code", "rate", "transaction_id", "journal_index"],
      ask: async (requestId) =>
        grey.transactions.exchange(
          { ...exchange("0.0001"), toWalletId: await createWallet("EUR"), requestId },
          HEADERS,
        ),
    },
    {
      reason: "NOT_REVERSIBLE",
      code: "FAILED_PRECONDITION",
      metadata: ["original_id", "transaction_id", "journal_index"],
      ask: async (requestId) => grey.transactions.reverse({ ...reversal(await hold()), requestId }, HEADERS),
    },
    {
      reason: "REVERSAL_EXCEEDED",
      code: "FAILED_PRECONDITION",
      metadata: [
        "original_id",
        "remaining_minor_units",
        "required_minor_units",
        "currency_code",
        "transaction_id",
        "journal_index",
      ],
      ask: async (requestId) => {
        const { transaction } = await grey.transactions.transfer(transfer(1n));
        await grey.transactions.reverse(reversal(transaction!.id));
        return grey.transactions.reverse({ ...reversal(transaction!.id), requestId }, HEADERS);
      },
    },
    {
      reason: "TOO_MANY_REVERSALS",
      code: "FAILED_PRECONDITION",
      metadata: ["original_id", "max", "transaction_id", "journal_index"],
      ask: async (requestId) => {
        const { transaction } = await grey.transactions.deposit(depositRequest(walletId, 2_000n));
        const part = () => ({ ...reversal(transaction!.id), amount: { currencyCode: "USD", minorUnits: 1n } });
        for (let count = 0; count < 1_000; count += 100)
          await Promise.all(Array.from({ length: 100 }, () => grey.transactions.reverse(part())));
        return grey.transactions.reverse({ ...part(), requestId }, HEADERS);
      },
    },
    {
      reason: "METADATA_EXCEEDED",
      code: "FAILED_PRECONDITION",
      metadata: ["transaction_id", "pairs"],
      ask: async (requestId) => {
        const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, index) => [`k${index}`, "v"]));
        const { transaction } = await grey.transactions.transfer({ ...transfer(1n), metadata });
        const change = { transactionId: transaction!.id, set: { more: "v" }, remove: [] };
        return grey.transactions.setTransactionMetadata({ ...change, requestId }, HEADERS);
      },
    },
    {
      reason: "EXPIRY_INVALID",
      code: "INVALID_ARGUMENT",
      metadata: ["transaction_id", "journal_index"],
      ask: async (requestId) => {
        const expiry = { $case: "expiresIn", value: { seconds: 1n, nanos: 0 } } as const;
        return grey.transactions.extendHold({ ...step(await hold()), requestId, expiry }, HEADERS);
      },
    },
    {
      reason: "SCHEDULE_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["schedule_id"],
      ask: (requestId) => grey.schedules.pauseSchedule({ requestId, scheduleId: randomUUID() }, HEADERS),
    },
    {
      reason: "SCHEDULE_TIME_INVALID",
      code: "INVALID_ARGUMENT",
      metadata: [],
      ask: (requestId) => grey.schedules.createSchedule({ ...schedule(1n), requestId }, HEADERS),
    },
    {
      reason: "SCHEDULE_ENDED",
      code: "FAILED_PRECONDITION",
      metadata: ["schedule_id", "schedule_state"],
      ask: async (requestId) => {
        const scheduleId = await createSchedule();
        await grey.schedules.cancelSchedule({ requestId: randomUUID(), scheduleId });
        return grey.schedules.cancelSchedule({ requestId, scheduleId }, HEADERS);
      },
    },
    {
      reason: "SCHEDULE_NOT_ACTIVE",
      code: "FAILED_PRECONDITION",
      metadata: ["schedule_id"],
      ask: async (requestId) => {
        const scheduleId = await createSchedule();
        await grey.schedules.pauseSchedule({ requestId: randomUUID(), scheduleId });
        return grey.schedules.pauseSchedule({ requestId, scheduleId }, HEADERS);
      },
    },
    {
      reason: "SCHEDULE_NOT_PAUSED",
      code: "FAILED_PRECONDITION",
      metadata: ["schedule_id"],
      ask: async (requestId) =>
        grey.schedules.resumeSchedule({ requestId, scheduleId: await createSchedule() }, HEADERS),
    },
    {
      reason: "TOO_MANY_ALERTS",
      code: "FAILED_PRECONDITION",
      metadata: ["wallet_id", "max"],
      ask: async (requestId) => {
        const alert = {
          walletId: await createWallet("USD"),
          threshold: { currencyCode: "USD", minorUnits: 5n },
          direction: 1,
          balance: 1,
        };
        for (let count = 0; count < 100; count += 1)
          await grey.alerts.createAlert({ ...alert, requestId: randomUUID() });
        return grey.alerts.createAlert({ ...alert, requestId }, HEADERS);
      },
    },
    {
      reason: "ALERT_NOT_FOUND",
      code: "NOT_FOUND",
      metadata: ["alert_id"],
      ask: (requestId) => grey.alerts.deleteAlert({ requestId, alertId: randomUUID() }, HEADERS),
    },
  ];

  for (const { reason, code, metadata, ask } of REFUSALS) {
    it(`${reason} is ${code} and carries ${metadata.join(", ") || "no metadata"}, request and trace id, and no internals`, async () => {
      const requestId = randomUUID();
      const error = await refusal(ask(requestId));
      expect(error).to.include({ code, reason, domain: "grey", traceId: TRACE_ID });
      expect(Object.keys(error.info)).to.have.members(metadata);
      expectIds(error);
      if (metadata.includes("transaction_id") && reason !== "TRANSACTION_NOT_FOUND") {
        expect(error.requestId).to.equal(requestId);
      }
      expect(error.violations.size > 0).to.equal(reason === "INVALID_REQUEST");
      expect(error.retryAfterMs).to.equal(undefined);
      expect(error.message).not.to.match(LEAKS);
      for (const [name, value] of Object.entries(error.info))
        if (name.endsWith("_minor_units"))
          expect(error.message).to.include(formatAmount(BigInt(value), { code: "USD", exponent: 2 }));
    });
  }

  it("writes amounts with their currency's decimals, also of a currency made just now, in replays and batches", async () => {
    await grey.ledger.createCurrency({ requestId: randomUUID(), code: "GEMS", exponent: 4, name: "Gems" });
    const [from, to] = [await createWallet("GEMS", userId, 7_026_600n), await createWallet("GEMS")];
    const amount = { currencyCode: "GEMS", minorUnits: 10_000_001n };
    const request = { ...transfer(1n), fromWalletId: from, toWalletId: to, amount };
    const message = "the available balance is too low: 702.6600 GEMS available, 1000.0001 GEMS required";
    const first = await refusal(grey.transactions.transfer(request));
    expect(first.message).to.equal(message);
    expect(first.info).to.include({ available_minor_units: "7026600", required_minor_units: "10000001" });
    const again = await refusal(grey.transactions.transfer(request));
    expect(again).to.include({ message });
    expect(again.info.replayed).to.equal("true");
    const transfers = [{ ...transfer(1n), ...request, requestId: randomUUID() }];
    const batch = await grey.transactions.batchTransfer(
      BatchTransferRequest.fromPartial({ mode: BatchMode.INDEPENDENT, transfers }),
    );
    expect(batch.results.map(({ error }) => error?.message)).to.deep.equal([message]);
  });

  it("names the field of a cron expression that is wrong, and its values", async () => {
    const ask = schedule(0n);
    for (const [cron, rule] of [
      ["61 * * * *", /^the minute, 61, must be 0 to 59,/],
      ["0 9 * FOO *", /^the month, FOO, must be 1 to 12, or JAN to DEC,/],
      ["0 9 1 *", /^must have five fields \(minute, hour, .*\) with one blank between them, such as/],
    ] as const) {
      const recurring = { cron, timeZone: "UTC", startTime: undefined, endTime: undefined, maxRuns: 0 };
      const error = await refusal(
        grey.schedules.createSchedule({ ...ask, when: { $case: "recurring", value: recurring } }),
      );
      expect(error.violations.get("recurring.cron")).to.match(rule);
    }
  });

  it("carries the request_id of its message, in lower case, else the header's, else a new one", async () => {
    const requestId = randomUUID();
    const refused = { ...transfer(1_000_000n), requestId: requestId.toUpperCase() };
    expect((await refusal(grey.transactions.transfer(refused, { "x-request-id": "mine" }))).requestId).to.equal(
      requestId,
    );
    const missing = { by: { $case: "id" as const, value: randomUUID() } };
    expect((await refusal(grey.users.getUser(missing, { "x-request-id": "mine" }))).requestId).to.equal("mine");
    expect((await refusal(grey.users.getUser(missing))).requestId).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    const forged = await refusal(grey.users.getUser(missing, { "x-request-id": "a b" }));
    expect(forged.requestId).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  });

  it("carries a new trace id when the caller has none, or none that is valid", async () => {
    const missing = { by: { $case: "id" as const, value: randomUUID() } };
    const ids = new Set<string | undefined>();
    for (const traceparent of [
      undefined,
      "",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      `00-${TRACE_ID.toUpperCase()}-b7ad6b7169203331-01`,
      TRACE_ID,
    ]) {
      const error = await refusal(grey.users.getUser(missing, traceparent === undefined ? {} : { traceparent }));
      expect(error.traceId).to.match(/^[0-9a-f]{32}$/);
      expect(error.traceId).not.to.match(/^0+$/);
      ids.add(error.traceId);
    }
    expect(ids.size).to.equal(5);
  });

  it("and an answer alike carry both ids in their trailers", async () => {
    const users = new UserServiceClient(server.address, credentials.createInsecure());
    const requestId = randomUUID();
    const { trailers } = await call(users.createUser, users, { ...user(), requestId }, HEADERS);
    users.close();
    expect(trailers.get("grey-request-id")).to.deep.equal([requestId]);
    expect(trailers.get("grey-trace-id")).to.deep.equal([TRACE_ID]);
  });

  it("that is a stored answer is marked as replayed, also for a user or a wallet", async () => {
    const request = { ...wallet("ZQZ"), requestId: randomUUID() };
    expect((await refusal(grey.wallets.createWallet(request))).info).to.deep.equal({ currency_code: "ZQZ" });
    expect((await refusal(grey.wallets.createWallet(request))).info).to.deep.equal({
      currency_code: "ZQZ",
      replayed: "true",
    });
  });

  it("that is unforeseen is INTERNAL: the caller learns nothing of it, the log everything but values", async () => {
    await admin.query("ALTER TABLE users ADD CONSTRAINT unforeseen CHECK (name <> 'canary-name')");
    const request = { ...user(), name: "canary-name" };
    const error = await refusal(grey.users.createUser(request, HEADERS));
    await admin.query("ALTER TABLE users DROP CONSTRAINT unforeseen");
    expect(error).to.include({ code: "INTERNAL", reason: "INTERNAL", domain: "grey", message: "internal error" });
    expect(error.info).to.deep.equal({});
    expectIds(error);
    const fault = server.logs.find((line) => line.message === "fault");
    expect(fault).to.include({
      level: "error",
      method: "/grey.user.v1.UserService/CreateUser",
      requestId: request.requestId,
      traceId: TRACE_ID,
      code: "23514",
      constraint: "unforeseen",
    });
    expect(fault!.at).to.be.a("string").that.includes("user-service");
    expect(JSON.stringify(server.logs)).not.to.include("canary").and.not.to.include(request.email);
    // It used nothing up.
    await grey.users.createUser(request);
  });

  it("of an unreachable database is UNAVAILABLE with RetryInfo, and does not reveal the location of the database", async () => {
    const way = await createRoute(server.databaseUrl);
    await way.open();
    const other = await startServer({ DATABASE_URL: way.url, GREY_RETRY_AFTER_MS: "1500" });
    const client = connect(other.address);
    try {
      await client.users.listUsers({ pageSize: 1, pageToken: "" });
      await way.cut();
      for (const ask of [
        () => client.users.listUsers({ pageSize: 1, pageToken: "" }, HEADERS),
        () => client.users.createUser(user(), HEADERS),
        () => client.wallets.getBalance({ walletId }, HEADERS),
        () => client.transactions.transfer(transfer(1n), HEADERS),
        () => client.ledger.checkIntegrity({ maxFaults: 0 }, HEADERS),
      ]) {
        const error = await refusal(ask());
        expect(error).to.include({
          code: "UNAVAILABLE",
          reason: "DATABASE_UNAVAILABLE",
          domain: "grey",
          retryAfterMs: 1_500,
        });
        expectIds(error);
        expect(error.message).not.to.match(LEAKS);
        expect(error.message).not.to.include(new URL(way.url).port);
      }
      await way.open();
      await eventually("an answer", () =>
        client.wallets.getBalance({ walletId }).then(
          () => true,
          () => false,
        ),
      );
      await client.transactions.transfer(transfer(1n));
    } finally {
      client.close();
      await other.stop();
      await way.cut();
    }
  });

  function expectIds(error: CallError): void {
    expect(error.traceId).to.equal(TRACE_ID);
    expect(error.requestId).to.be.a("string").and.not.equal("");
    expect(error.trailers.get("grey-trace-id")).to.deep.equal([error.traceId]);
    expect(error.trailers.get("grey-request-id")).to.deep.equal([error.requestId]);
  }

  async function createWallet(currencyCode: string, owner = userId, minorUnits = 100n): Promise<string> {
    const answer = await grey.wallets.createWallet({
      ...wallet(currencyCode),
      userId: owner,
      initialBalance: { currencyCode, minorUnits },
    });
    return answer.wallet!.id;
  }

  function wallet(currencyCode: string) {
    return { requestId: randomUUID(), userId, currencyCode, label: "", initialBalance: undefined, metadata: {} };
  }

  /** @param seconds of the single time of its run */
  function schedule(seconds: bigint): CreateScheduleRequest {
    return CreateScheduleRequest.fromPartial({
      requestId: randomUUID(),
      movement: { $case: "deposit", value: { walletId, amount: { currencyCode: "USD", minorUnits: 1n } } },
      when: { $case: "once", value: { seconds } },
    });
  }

  async function createSchedule(): Promise<string> {
    const tomorrow = BigInt(Math.floor(Date.now() / 1_000) + 86_400);
    return (await grey.schedules.createSchedule(schedule(tomorrow))).schedule!.id;
  }

  async function hold(toWalletId = ""): Promise<string> {
    const amount = { currencyCode: "USD", minorUnits: 1n };
    const request = { requestId: randomUUID(), walletId, toWalletId, amount, expiry: undefined };
    return (await grey.transactions.hold({ ...request, description: "", metadata: {} })).hold!.id;
  }

  function reversal(transactionId: string) {
    const whole = { amount: undefined, atEffectiveTimeOfOriginal: false };
    return { requestId: randomUUID(), transactionId, ...whole, description: "", metadata: {} };
  }

  function step(holdId: string) {
    return { requestId: randomUUID(), holdId, description: "", metadata: {} };
  }

  function limits(of: string, over: object) {
    const none = { minBalance: undefined, maxBalance: undefined, velocity: [] };
    const account = { $case: "walletId", value: of } as const;
    return { requestId: randomUUID(), account, limits: { ...none, ...over }, reason: "" };
  }

  function exchange(rate: string) {
    const { fromWalletId, toWalletId, amount, ...asked } = transfer(10n);
    const by = { $case: "rate", value: rate } as const;
    return { ...asked, fromWalletId, toWalletId, sourceAmount: amount, targetAmount: undefined, by };
  }

  function transfer(minorUnits: bigint) {
    return {
      requestId: randomUUID(),
      fromWalletId: walletId,
      toWalletId: otherWalletId,
      amount: { currencyCode: "USD", minorUnits },
      description: "",
      metadata: {},
      effectiveTime: undefined,
    };
  }
});

function user() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
