import { randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { fromBinary, fromJson, toBinary, type DescMethod, type JsonObject, type Message } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { Metadata } from "@grpc/grpc-js";
import { expect } from "chai";
import pg from "pg";
import { AlertBalance, AlertDirection } from "../../generated/grey/alert/v1/alert_service.js";
import { CreateScheduleRequest } from "../../generated/grey/schedule/v1/schedule_service.js";
import { Status } from "../../generated/google/rpc/status.js";
import { TransferRequest } from "../../generated/grey/transaction/v1/transaction_service.js";
import { LEDGER_CALLER } from "../../src/base/ids.js";
import { CallError, connect, refusal, type Clients } from "../support/client.js";
import {
  brokenFieldsOf,
  documentedReasonsOf,
  isUnbounded,
  registry,
  requestFieldsOf,
  samplesOf,
  type Sample,
} from "../support/corpus.js";
import { connectRaw, frame, postBare, type RawAnswer, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";

/** What requests may speak of. */
interface World {
  readonly email: string;
  readonly userId: string;
  readonly spareUserId: string;
  readonly walletId: string;
  readonly otherWalletId: string;
  readonly calmWalletId: string;
  readonly frozenWalletId: string;
  readonly emptyWalletId: string;
  readonly closedWalletId: string;
  readonly holdId: string;
  readonly spareHoldId: string;
  readonly transactionId: string;
  readonly euroWalletId: string;
  readonly quote: string;
  readonly transactionRequestId: string;
  readonly scheduleId: string;
  readonly pausedScheduleId: string;
  readonly spareScheduleId: string;
  readonly activeScheduleId: string;
  readonly alertId: string;
  readonly spareAlertId: string;
}

type Example = (world: World) => JsonObject;

/** Valid requests of every RPC, between them with every field of a oneof; request_id is added. An RPC without one fails. */
const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  "grey.user.v1.UserService/CreateUser": [() => ({ name: "Ada", email: newEmail(), metadata: { team: "a" } })],
  "grey.user.v1.UserService/GetUser": [({ userId }) => ({ id: userId }), ({ email }) => ({ email })],
  "grey.user.v1.UserService/ListUsers": [() => ({ page_size: 2 })],
  "grey.user.v1.UserService/UpdateUser": [
    ({ userId }) => ({ user_id: userId, name: "Ada", metadata: { team: "b" }, update_mask: "name,metadata" }),
    ({ userId, email }) => ({ user_id: userId, email, update_mask: "email" }),
  ],
  "grey.user.v1.UserService/DeleteUser": [({ spareUserId }) => ({ user_id: spareUserId })],
  "grey.wallet.v1.WalletService/CreateWallet": [
    ({ userId }) => ({
      user_id: userId,
      currency_code: "USD",
      label: "food",
      initial_balance: { currency_code: "USD", minor_units: "1" },
      metadata: { team: "a" },
    }),
  ],
  "grey.wallet.v1.WalletService/GetWallet": [({ walletId }) => ({ id: walletId })],
  "grey.wallet.v1.WalletService/BatchGetWallets": [
    ({ walletId, otherWalletId }) => ({ ids: [walletId, otherWalletId] }),
  ],
  "grey.wallet.v1.WalletService/ListWallets": [({ userId }) => ({ user_id: userId, page_size: 2 })],
  "grey.wallet.v1.WalletService/UpdateWallet": [
    ({ walletId }) => ({ wallet_id: walletId, label: "rent", metadata: { team: "b" }, update_mask: "label,metadata" }),
  ],
  "grey.wallet.v1.WalletService/FreezeWallet": [({ calmWalletId }) => ({ wallet_id: calmWalletId, reason: "a case" })],
  "grey.wallet.v1.WalletService/UnfreezeWallet": [
    ({ frozenWalletId }) => ({ wallet_id: frozenWalletId, reason: "over" }),
  ],
  "grey.wallet.v1.WalletService/CloseWallet": [({ emptyWalletId }) => ({ wallet_id: emptyWalletId, reason: "left" })],
  "grey.wallet.v1.WalletService/ReopenWallet": [
    ({ closedWalletId }) => ({ wallet_id: closedWalletId, reason: "back" }),
  ],
  "grey.wallet.v1.WalletService/GetBalance": [
    ({ walletId }) => ({ wallet_id: walletId, journal_index: "7" }),
    ({ walletId }) => ({ wallet_id: walletId, record_time: "2026-01-01T00:00:00Z" }),
    ({ walletId }) => ({ wallet_id: walletId, effective_time: "2026-01-01T00:00:00Z" }),
  ],
  "grey.wallet.v1.WalletService/GetStatement": [
    ({ walletId }) => ({
      wallet_id: walletId,
      from: "2020-01-01T00:00:00Z",
      before: "2200-01-01T00:00:00Z",
      page_size: 2,
    }),
    ({ walletId }) => ({
      wallet_id: walletId,
      from: "2020-01-01T00:00:00Z",
      before: "2200-01-01T00:00:00Z",
      order: "STATEMENT_ORDER_EFFECTIVE_TIME",
    }),
  ],
  "grey.wallet.v1.WalletService/StreamStatement": [
    ({ walletId }) => ({
      wallet_id: walletId,
      from: "2020-01-01T00:00:00Z",
      before: "2200-01-01T00:00:00Z",
      after_account_sequence: "1",
    }),
  ],
  "grey.wallet.v1.WalletService/WatchWallet": [({ walletId }) => ({ wallet_id: walletId, from_journal_index: "0" })],
  "grey.transaction.v1.TransactionService/Deposit": [
    ({ walletId }) => ({ wallet_id: walletId, system_account: "cash", ...movement() }),
  ],
  "grey.transaction.v1.TransactionService/Withdraw": [
    ({ walletId }) => ({ wallet_id: walletId, system_account: "cash", ...movement() }),
  ],
  "grey.transaction.v1.TransactionService/Transfer": [transferIn],
  "grey.transaction.v1.TransactionService/BatchTransfer": [
    (world) => ({ mode: "BATCH_MODE_INDEPENDENT", transfers: [transferIn(world)] }),
    (world) => ({ mode: "BATCH_MODE_ATOMIC", transfers: [transferIn(world)] }),
  ],
  "grey.transaction.v1.TransactionService/StreamTransfers": [
    (world) => ({ correlation: "7", transfer: transferIn(world) }),
  ],
  "grey.transaction.v1.TransactionService/GetTransaction": [
    ({ transactionId }) => ({ id: transactionId }),
    ({ transactionRequestId }) => ({ request_id: transactionRequestId }),
  ],
  "grey.transaction.v1.TransactionService/Hold": [
    ({ walletId, otherWalletId }) => ({
      wallet_id: walletId,
      to_wallet_id: otherWalletId,
      amount: { currency_code: "USD", minor_units: "1" },
      expires_in: "3600s",
      description: "a room",
      metadata: { team: "a" },
    }),
    ({ walletId }) => ({
      wallet_id: walletId,
      amount: { currency_code: "USD", minor_units: "1" },
      expire_time: new Date(Date.now() + 3_600_000).toISOString(),
    }),
  ],
  "grey.transaction.v1.TransactionService/IncreaseHold": [
    ({ holdId }) => ({
      hold_id: holdId,
      amount: { currency_code: "USD", minor_units: "1" },
      description: "breakfast",
      metadata: { team: "a" },
    }),
  ],
  "grey.transaction.v1.TransactionService/ExtendHold": [
    ({ holdId }) => ({ hold_id: holdId, expires_in: "864000s", description: "longer", metadata: { team: "a" } }),
    ({ holdId }) => ({ hold_id: holdId, expire_time: new Date(Date.now() + 86_400_000_000 / 100).toISOString() }),
  ],
  "grey.transaction.v1.TransactionService/CaptureHold": [
    ({ holdId }) => ({
      hold_id: holdId,
      amount: { currency_code: "USD", minor_units: "1" },
      to_system_account: "fees",
      description: "a night",
      metadata: { team: "a" },
    }),
    ({ holdId, otherWalletId }) => ({
      hold_id: holdId,
      amount: { currency_code: "USD", minor_units: "1" },
      to_wallet_id: otherWalletId,
    }),
    ({ spareHoldId }) => ({
      hold_id: spareHoldId,
      amount: { currency_code: "USD", minor_units: "0" },
      final: true,
    }),
  ],
  "grey.transaction.v1.TransactionService/ReleaseHold": [
    ({ spareHoldId }) => ({ hold_id: spareHoldId, description: "gone", metadata: { team: "a" } }),
  ],
  "grey.transaction.v1.TransactionService/Reverse": [
    ({ transactionId }) => ({
      transaction_id: transactionId,
      amount: { currency_code: "USD", minor_units: "1" },
      at_effective_time_of_original: true,
      description: "wrong",
      metadata: { team: "a" },
    }),
  ],
  "grey.transaction.v1.TransactionService/PostTransaction": [
    ({ walletId, otherWalletId }) => ({
      legs: [
        { wallet_id: walletId, side: "ENTRY_SIDE_DEBIT", amount: { currency_code: "USD", minor_units: "3" } },
        { wallet_id: otherWalletId, side: "ENTRY_SIDE_CREDIT", amount: { currency_code: "USD", minor_units: "2" } },
        { system_account: "fees", side: "ENTRY_SIDE_CREDIT", amount: { currency_code: "USD", minor_units: "1" } },
      ],
      ...asked(),
    }),
  ],
  "grey.transaction.v1.TransactionService/Exchange": [
    ({ walletId, euroWalletId }) => ({
      from_wallet_id: walletId,
      to_wallet_id: euroWalletId,
      source_amount: { currency_code: "USD", minor_units: "100" },
      rate: "0.92",
      rounding: "ROUNDING_DOWN",
      ...asked(),
    }),
    ({ walletId, euroWalletId }) => ({
      from_wallet_id: walletId,
      to_wallet_id: euroWalletId,
      target_amount: { currency_code: "EUR", minor_units: "92" },
    }),
    ({ walletId, euroWalletId, quote }) => ({ from_wallet_id: walletId, to_wallet_id: euroWalletId, quote }),
  ],
  "grey.transaction.v1.TransactionService/GetQuote": [
    () => ({
      source_currency_code: "USD",
      target_currency_code: "EUR",
      source_minor_units: "100",
      expires_in: "60s",
      rounding: "ROUNDING_UP",
    }),
    () => ({ source_currency_code: "USD", target_currency_code: "EUR", target_minor_units: "100" }),
  ],
  "grey.transaction.v1.TransactionService/GetHold": [({ holdId }) => ({ id: holdId })],
  "grey.transaction.v1.TransactionService/ListHolds": [
    ({ walletId }) => ({ wallet_id: walletId, active_only: true, page_size: 2 }),
  ],
  "grey.transaction.v1.TransactionService/ListTransactions": [
    ({ userId }) => ({
      user_id: userId,
      page_size: 2,
      kinds: ["TRANSACTION_KIND_OPENING"],
      states: ["TRANSACTION_STATE_POSTED"],
      create_time_from: "2020-01-01T00:00:00Z",
      create_time_before: "2200-01-01T00:00:00Z",
      min_amount: "1",
      max_amount: "1000000",
      currency_code: "USD",
      description_prefix: "lun",
      external_reference: "INV-17",
      metadata_filters: [{ key: "team", equals: "a" }],
    }),
    ({ walletId }) => ({ wallet_id: walletId }),
  ],
  "grey.transaction.v1.TransactionService/SetTransactionMetadata": [
    ({ transactionId }) => ({ transaction_id: transactionId, set: { team: "b" }, remove: ["draft"] }),
  ],
  "grey.transaction.v1.TransactionService/ListMetadataChanges": [
    ({ transactionId }) => ({ transaction_id: transactionId, page_size: 2 }),
  ],
  "grey.transaction.v1.TransactionService/WatchTransactions": [
    ({ userId, walletId, otherWalletId }) => ({
      from_journal_index: "0",
      user_id: userId,
      wallet_ids: [walletId, otherWalletId],
      kinds: ["TRANSACTION_KIND_OPENING"],
      states: ["TRANSACTION_STATE_REJECTED"],
    }),
  ],
  "grey.ledger.v1.LedgerService/NameAccounts": [({ walletId }) => ({ account_ids: [walletId] })],
  "grey.ledger.v1.LedgerService/FindIds": [() => ({ prefix: "01", kind: "ID_KIND_WALLET" })],
  "grey.ledger.v1.LedgerService/ListCurrencies": [() => ({ page_size: 2 })],
  "grey.ledger.v1.LedgerService/CreateCurrency": [() => ({ code: newCode(), exponent: 2, name: "Points" })],
  "grey.ledger.v1.LedgerService/CreateAccount": [
    () => ({
      system_account: { name: `a${newCode().toLowerCase()}`, currency_code: "USD" },
      normal_side: "NORMAL_SIDE_CREDIT",
      min_balance: "-5",
      max_balance: "5",
    }),
  ],
  "grey.ledger.v1.LedgerService/SetLimits": [
    ({ calmWalletId }) => ({ wallet_id: calmWalletId, limits: someLimits(), reason: "a case" }),
    () => ({ system_account: { name: "fees", currency_code: "EUR" }, limits: { min_balance: "-5", max_balance: "7" } }),
  ],
  "grey.ledger.v1.LedgerService/GetLimits": [
    ({ walletId }) => ({ wallet_id: walletId }),
    () => ({ system_account: { name: "fees", currency_code: "EUR" } }),
  ],
  "grey.ledger.v1.LedgerService/SetDefaultLimits": [
    () => ({ currency_code: "CHF", limits: someLimits(), reason: "a policy" }),
  ],
  "grey.ledger.v1.LedgerService/GetDefaultLimits": [() => ({ currency_code: "CHF" })],
  "grey.ledger.v1.LedgerService/ListLimitChanges": [
    ({ walletId }) => ({ wallet_id: walletId, page_size: 2 }),
    () => ({ system_account: { name: "fees", currency_code: "EUR" } }),
    () => ({ defaults_of_currency_code: "CHF" }),
  ],
  "grey.ledger.v1.LedgerService/SetRate": [
    () => ({
      source_currency_code: "CHF",
      target_currency_code: "EUR",
      rate: "1.0612",
      valid_from: "2199-01-01T00:00:00Z",
      valid_until: "2200-01-01T00:00:00Z",
    }),
  ],
  "grey.ledger.v1.LedgerService/GetRate": [
    () => ({ source_currency_code: "USD", target_currency_code: "EUR", at_time: "2199-01-01T00:00:00Z" }),
  ],
  "grey.ledger.v1.LedgerService/ListRates": [
    () => ({ source_currency_code: "USD", target_currency_code: "EUR", page_size: 2 }),
  ],
  "grey.ledger.v1.LedgerService/GetAccount": [
    ({ walletId }) => ({ id: walletId }),
    () => ({ system_account: { name: "cash", currency_code: "USD" } }),
  ],
  "grey.ledger.v1.LedgerService/ListAccounts": [() => ({ page_size: 2, currency_code: "USD", system_only: true })],
  "grey.ledger.v1.LedgerService/GetTrialBalance": [() => ({ currency_code: "USD" })],
  "grey.ledger.v1.LedgerService/CheckIntegrity": [() => ({ max_faults: 10 })],
  "grey.ledger.v1.LedgerService/StreamIntegrityCheck": [
    () => ({ max_faults: 10, from_journal_index: "2" }),
    () => ({ since_last: true }),
  ],
  "grey.schedule.v1.ScheduleService/CreateSchedule": [
    ({ walletId, otherWalletId }) => ({
      transfer: {
        from_wallet_id: walletId,
        to_wallet_id: otherWalletId,
        amount_mode: "AMOUNT_MODE_UP_TO",
        ...scheduled(),
      },
      recurring: {
        cron: "0 9 1 JAN-DEC MON,5",
        time_zone: "Europe/Berlin",
        start_time: inDays(1),
        end_time: inDays(900),
        max_runs: 12,
      },
      on_insufficient_funds: "INSUFFICIENT_FUNDS_POLICY_RETRY",
      retry_interval: "3600s",
      retry_max: 3,
    }),
    ({ walletId }) => ({ deposit: { wallet_id: walletId, system_account: "cash", ...scheduled() }, once: inDays(1) }),
    ({ walletId }) => ({
      withdrawal: { wallet_id: walletId, system_account: "cash", ...scheduled() },
      once: inDays(1),
    }),
  ],
  "grey.schedule.v1.ScheduleService/GetSchedule": [({ scheduleId }) => ({ id: scheduleId })],
  "grey.schedule.v1.ScheduleService/ListSchedules": [
    ({ walletId }) => ({ wallet_id: walletId, states: ["SCHEDULE_STATE_ACTIVE"], page_size: 2 }),
  ],
  "grey.schedule.v1.ScheduleService/PauseSchedule": [({ activeScheduleId }) => ({ schedule_id: activeScheduleId })],
  "grey.schedule.v1.ScheduleService/ResumeSchedule": [({ pausedScheduleId }) => ({ schedule_id: pausedScheduleId })],
  "grey.schedule.v1.ScheduleService/CancelSchedule": [({ spareScheduleId }) => ({ schedule_id: spareScheduleId })],
  "grey.schedule.v1.ScheduleService/ListRuns": [({ scheduleId }) => ({ schedule_id: scheduleId, page_size: 2 })],
  "grey.alert.v1.AlertService/CreateAlert": [
    ({ walletId }) => ({
      wallet_id: walletId,
      threshold: { currency_code: "USD", minor_units: "5000" },
      direction: "ALERT_DIRECTION_DOWN",
      balance: "ALERT_BALANCE_POSTED",
    }),
  ],
  "grey.alert.v1.AlertService/GetAlert": [({ alertId }) => ({ id: alertId })],
  "grey.alert.v1.AlertService/ListAlerts": [({ walletId }) => ({ wallet_id: walletId, page_size: 2 })],
  "grey.alert.v1.AlertService/DeleteAlert": [({ spareAlertId }) => ({ alert_id: spareAlertId })],
  "grey.alert.v1.AlertService/ListAlertEvents": [({ alertId }) => ({ alert_id: alertId, page_size: 2 })],
};

const METHODS: readonly DescMethod[] = [...registry]
  .filter((desc) => desc.kind === "service" && desc.typeName.startsWith("grey."))
  .flatMap((service) => (service.kind === "service" ? service.methods : []));

const METHOD_OF = new Map(METHODS.map((method) => [keyOf(method), method]));

/** What each item of a batch or a stream is. */
const ITEM = METHOD_OF.get("grey.transaction.v1.TransactionService/Transfer")!;

/** How each kind of method is asked for one answer. */
const WAY = {
  unary: "call",
  server_streaming: "watch",
  bidi_streaming: "stream",
  // There are none.
  client_streaming: "stream",
} as const;

const VIOLATIONS_MAX = 20;

/** Codes that say the caller is at fault, or the state of things. */
const FITTING = ["INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "ABORTED"];

const AT_ONCE = 16;

describe("bad input", function () {
  let server: TestServer;
  let grey: Clients;
  let raw: RawClient;
  let database: pg.Client;
  let world: World;

  before(async () => {
    // Nothing is to change but by what is asked for.
    server = await startServer({
      GREY_HOLD_EXPIRY_EVERY_MS: "3600000",
      // The window of effective times has tests of its own.
      GREY_BACKDATE_MAX_DAYS: "3000000",
      GREY_POSTDATE_MAX_DAYS: "3000000",
      GREY_SCHEDULE_EVERY_MS: "3600000",
      GREY_ALERT_EVERY_MS: "3600000",
      GREY_READ_WAIT_MS: "1",
    });
    grey = connect(server.address);
    raw = connectRaw(server.address);
    database = new pg.Client(server.databaseUrl);
    await database.connect();
    world = await createWorld();
  });
  after(async () => {
    raw.close();
    grey.close();
    await database.end();
    await server.stop();
  });

  describe("in every field of every RPC", () => {
    for (const method of METHODS) {
      const examples = EXAMPLES[keyOf(method)] ?? [];

      it(`${keyOf(method)} answers its examples`, async () => {
        expect(examples, "valid requests in EXAMPLES").not.to.deep.equal([]);
        // Another world, since an example may delete what it speaks of.
        const own = await createWorld();
        for (const example of examples) {
          const bytes = toBinary(method.input, requestOf(method, example(own)));
          expect(brokenFieldsOf(method.input, bytes)).to.deep.equal([]);
          const { error } = await send(method, bytes);
          expect(error, error?.message).to.equal(undefined);
        }
      });

      it(`${keyOf(method)} bounds every field`, () => {
        const unbounded = requestFieldsOf(method.input).filter(({ field }) => isUnbounded(field));
        expect(unbounded.map(({ path }) => path)).to.deep.equal([]);
      });

      it(`${keyOf(method)} names each field that breaks a rule, and writes nothing`, async () => {
        const bad = allSamples(method, examples).flatMap((sample) => {
          const fields = brokenFieldsOf(method.input, sample.bytes);
          return fields.length === 0 ? [] : [{ ...sample, fields }];
        });
        const before = await contentsOf();
        const problems = await inParallel(bad, async ({ label, bytes, fields }) => {
          const { error } = await send(method, bytes);
          if (error === undefined) return `${label}: answered, and breaks ${fields.join()}`;
          const named = [...new Set([...error.violations.keys()].map(withoutSubscript))].sort();
          // Of very many, an error names the first.
          const isComplete = error.violations.size >= VIOLATIONS_MAX || named.join() === fields.join();
          const isRight =
            error.code === "INVALID_ARGUMENT" &&
            error.reason === "INVALID_REQUEST" &&
            named.length > 0 &&
            named.every((field) => fields.includes(field)) &&
            isComplete &&
            [...error.violations.values()].every((rule) => rule !== "");
          return isRight
            ? undefined
            : `${label}: ${error.code} ${error.reason} names ${named.join()}, breaks ${fields.join()}: ${error.message.slice(0, 200)}`;
        });
        expect(problems).to.deep.equal([]);
        expect(await contentsOf()).to.deep.equal(before);
      });

      it(`${keyOf(method)} answers what breaks no rule, or refuses it for a documented reason`, async () => {
        const good = allSamples(method, examples).filter(
          ({ bytes }) => brokenFieldsOf(method.input, bytes).length === 0,
        );
        expect(good).not.to.deep.equal([]);
        const documented = documentedReasonsOf(method);
        if (hasItems(method)) for (const reason of documentedReasonsOf(ITEM)) documented.add(reason);
        const judge = ({ label }: Sample, { error }: RawAnswer): string | undefined =>
          error === undefined ||
          ((FITTING.includes(error.code) || error.reason === "JOURNAL_BEHIND") &&
            error.reason !== "INVALID_REQUEST" &&
            documented.has(error.reason ?? ""))
            ? undefined
            : `${label}: ${error.code} ${error.reason} ${error.message.slice(0, 200)} [${[...documented].join(" ")}]`;
        const problems: string[] = [];
        if (!isMutating(method)) {
          const before = await contentsOf();
          problems.push(...(await inParallel(good, async (one) => judge(one, await send(method, one.bytes)))));
          expect(await contentsOf()).to.deep.equal(before);
        } else {
          let before = await countsOf();
          for (const sample of good) {
            const answer = await send(method, sample.bytes);
            const after = await countsOf();
            const problem = judge(sample, answer) ?? wrongTraceOf(method, sample, answer, before, after);
            if (problem !== undefined) problems.push(problem);
            before = after;
          }
        }
        expect(problems).to.deep.equal([]);
      });
    }
  });

  describe("money", () => {
    for (const [amountMinor, code] of [
      [0n, "INVALID_ARGUMENT"],
      [-1n, "INVALID_ARGUMENT"],
      [-(2n ** 63n), "INVALID_ARGUMENT"],
      [1n, undefined],
      [2n ** 53n - 1n, undefined],
      [2n ** 53n, undefined],
      [2n ** 53n + 1n, undefined],
      [2n ** 63n - 1n, undefined],
    ] as const) {
      it(`a transfer of ${amountMinor} minor units is ${code === undefined ? "exact" : "refused and names amount"}`, async () => {
        // Cash of the currency has room for one such amount.
        const currencyCode = newCode();
        await grey.ledger.createCurrency({ requestId: randomUUID(), code: currencyCode, exponent: 2, name: "Points" });
        const from = await createWallet({ currencyCode, minorUnits: 2n ** 63n - 1n });
        const to = await createWallet({ currencyCode, minorUnits: 0n });
        const before = await contentsOf();
        const transfer = grey.transactions.transfer({
          ...transferOf(from, to),
          amount: { currencyCode, minorUnits: amountMinor },
        });
        if (code === undefined) {
          await transfer;
          expect(await balanceOf(to)).to.equal(amountMinor);
          expect(await balanceOf(from)).to.equal(2n ** 63n - 1n - amountMinor);
        } else {
          const error = await refusal(transfer);
          expect(error).to.include({ code, reason: "INVALID_REQUEST" });
          expect([...error.violations]).to.deep.equal([["amount", "must be more than 0 minor units"]]);
          expect(await contentsOf()).to.deep.equal(before);
        }
      });
    }

    it("a sum beyond int64 is BALANCE_OVERFLOW, and leaves the balance as it was", async () => {
      const walletId = await createWallet({ currencyCode: "XAF", minorUnits: 2n ** 63n - 1n });
      const error = await refusal(
        grey.transactions.deposit({ ...depositOf(walletId), amount: { currencyCode: "XAF", minorUnits: 1n } }),
      );
      expect(error).to.include({ code: "OUT_OF_RANGE", reason: "BALANCE_OVERFLOW" });
      expect(await balanceOf(walletId)).to.equal(2n ** 63n - 1n);
    });

    it("a wallet in a currency that does not exist is CURRENCY_NOT_FOUND, an amount in one is CURRENCY_MISMATCH", async () => {
      const wallet = await refusal(createWallet({ currencyCode: "ZQY", minorUnits: 1n }));
      expect(wallet).to.include({ code: "NOT_FOUND", reason: "CURRENCY_NOT_FOUND" });
      expect(wallet.info).to.include({ currency_code: "ZQY" });
      const transfer = await refusal(
        grey.transactions.transfer({
          ...transferOf(world.walletId, world.otherWalletId),
          amount: { currencyCode: "ZQY", minorUnits: 1n },
        }),
      );
      expect(transfer).to.include({ code: "FAILED_PRECONDITION", reason: "CURRENCY_MISMATCH" });
      expect(transfer.info).to.include({ wallet_currency_code: "USD", amount_currency_code: "ZQY" });
    });

    it("a transfer to the same wallet is SAME_WALLET, however its id is written", async () => {
      const { walletId } = world;
      const before = await balanceOf(walletId);
      const error = await refusal(grey.transactions.transfer(transferOf(walletId, walletId.toUpperCase())));
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "SAME_WALLET" });
      expect(await balanceOf(walletId)).to.equal(before);
    });
  });

  describe("paging", () => {
    for (const pageSize of [-1, -(2 ** 31), 1_001, 2 ** 31 - 1]) {
      it(`a page_size of ${pageSize} is refused and named`, async () => {
        const error = await refusal(grey.users.listUsers({ pageSize, pageToken: "" }));
        expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
        expect([...error.violations.keys()]).to.deep.equal(["page_size"]);
      });
    }

    it("a token with any other byte is PAGE_TOKEN_INVALID", async () => {
      const { nextPageToken: token } = await grey.ledger.listCurrencies({ pageSize: 1, pageToken: "" });
      expect(token).not.to.equal("");
      const tampered = Array.from(token, (letter, index) => {
        const other = letter === "A" ? "B" : "A";
        return token.slice(0, index) + other + token.slice(index + 1);
      });
      for (const one of [...tampered, `${token}=`, `${token}A`, ` ${token}`, token.slice(1), token.slice(0, -1), "A"]) {
        const error = await refusal(grey.ledger.listCurrencies({ pageSize: 1, pageToken: one }));
        expect(error, one).to.include({ code: "INVALID_ARGUMENT", reason: "PAGE_TOKEN_INVALID" });
      }
    });

    it("a token of another method is PAGE_TOKEN_INVALID", async () => {
      const { nextPageToken } = await grey.users.listUsers({ pageSize: 1, pageToken: "" });
      expect(nextPageToken).not.to.equal("");
      const error = await refusal(grey.ledger.listCurrencies({ pageSize: 1, pageToken: nextPageToken }));
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "PAGE_TOKEN_INVALID" });
    });

    it("a token serves only the filters that it was made for, and any page size", async () => {
      const { userId, walletId } = world;
      const request = {
        of: { $case: "userId", value: userId },
        pageSize: 1,
        pageToken: "",
        kinds: [1, 2, 3, 4],
        states: [1, 2],
        createTimeFrom: { seconds: 1n, nanos: 0 },
        createTimeBefore: { seconds: 9_000_000_000n, nanos: 0 },
      } as const satisfies Parameters<Clients["transactions"]["listTransactions"]>[0];
      const list = (changed: object) =>
        grey.transactions.listTransactions({
          ...request,
          kinds: [...request.kinds],
          states: [...request.states],
          ...changed,
        });
      const { nextPageToken: pageToken } = await list({});
      expect(pageToken).not.to.equal("");
      for (const changed of [
        { of: { $case: "walletId", value: walletId } },
        { of: { $case: "userId", value: world.spareUserId } },
        { kinds: [1, 2, 3] },
        { kinds: [] },
        { states: [1] },
        { createTimeFrom: undefined },
        { createTimeFrom: { seconds: 1n, nanos: 1_000 } },
        { createTimeBefore: { seconds: 9_000_000_001n, nanos: 0 } },
      ]) {
        const error = await refusal(list({ ...changed, pageToken }));
        expect(error, JSON.stringify(Object.keys(changed))).to.include({
          code: "INVALID_ARGUMENT",
          reason: "PAGE_TOKEN_INVALID",
        });
      }
      expect((await list({ pageToken, pageSize: 5 })).transactions).not.to.deep.equal([]);
    });

    it("a token of one account filter does not serve another", async () => {
      const request = { pageSize: 1, pageToken: "", currencyCode: "USD", systemOnly: true };
      const { nextPageToken: pageToken } = await grey.ledger.listAccounts(request);
      for (const changed of [{ currencyCode: "EUR" }, { currencyCode: "" }, { systemOnly: false }]) {
        const error = await refusal(grey.ledger.listAccounts({ ...request, pageToken, ...changed }));
        expect(error).to.include({ reason: "PAGE_TOKEN_INVALID" });
      }
    });
  });

  describe("text", () => {
    it("whatever is legal comes back letter by letter: no form is normalised, nothing is taken for syntax", async () => {
      const names = ["é", "e\u0301", "a\u200bb", "\u202egnp.exe", "'; DROP TABLE users; --", "%_\\%", "{}", "a\u2028b"];
      const metadata = Object.fromEntries([
        ["constructor", "a"],
        ["toString", "b"],
        ["a__proto__", "c"],
        ...names.map((name, index) => [`k${index}`, name]),
      ]) as Record<string, string>;
      for (const name of names) {
        const made = await grey.users.createUser({ requestId: randomUUID(), name, email: newEmail(), metadata });
        const { user } = await grey.users.getUser({ by: { $case: "id", value: made.user!.id } });
        expect(user).to.deep.include({ name, metadata });
      }
    });

    it("the key __proto__ is refused, and no object of the service gets a property by it", async () => {
      const metadata = Object.defineProperty({}, "__proto__", { value: "polluted", enumerable: true });
      const error = await refusal(
        grey.users.createUser({ requestId: randomUUID(), name: "Ada", email: newEmail(), metadata }),
      );
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect([...error.violations.keys()].map(withoutSubscript)).to.deep.equal(["metadata"]);
    });

    it("headers named as Object's own properties change nothing", async () => {
      const headers: Record<string, string> = {};
      for (const name of ["__proto__", "constructor", "hasownproperty"]) {
        Object.defineProperty(headers, name, { value: "polluted", enumerable: true });
      }
      const ending = await postBare(
        server.address,
        "/grey.user.v1.UserService/ListUsers",
        frame(Buffer.alloc(0)),
        headers,
      );
      expect(ending?.["grpc-status"]).to.equal("0");
    });

    it("an error about a long text is short enough to arrive", async () => {
      const long = "A".repeat(700_000);
      const named = await refusal(
        grey.users.createUser({ requestId: long, name: long, email: long, metadata: { [long]: long } }),
      );
      expect(named).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect(new Set([...named.violations.keys()].map(withoutSubscript))).to.deep.equal(
        new Set(["request_id", "name", "email", "metadata"]),
      );
      const many = await refusal(
        grey.wallets.batchGetWallets({ ids: Array.from({ length: 20_000 }, (_, index) => `no id ${index}`) }),
      );
      expect(many).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect(many.message.length).to.be.lessThan(1_000);
    });
  });

  describe("structure", () => {
    for (const [what, list] of [
      ["kinds", { kinds: [99] }],
      ["kinds", { kinds: [0] }],
      ["kinds", { kinds: [-1] }],
      ["kinds", { kinds: [1, 1] }],
      ["states", { states: [3] }],
      ["create_time_from", { createTimeFrom: { seconds: -62_167_219_200n, nanos: 0 } }],
      ["create_time_from.nanos", { createTimeFrom: { seconds: 5n, nanos: -1 } }],
      ["create_time_before", { createTimeBefore: { seconds: 253_402_300_800n, nanos: 0 } }],
      ["create_time_before.nanos", { createTimeBefore: { seconds: 5n, nanos: 1_000_000_000 } }],
      ["min_amount", { minAmount: -1n }],
      ["max_amount", { minAmount: 2n, maxAmount: 1n }],
      ["currency_code", { currencyCode: "usd" }],
      ["description_prefix", { descriptionPrefix: "a\0b" }],
      ["external_reference", { externalReference: "A".repeat(129) }],
      ["metadata_filters.key", { metadataFilters: [{ key: "", condition: undefined }] }],
      [
        "metadata_filters.any_of.values",
        { metadataFilters: [{ key: "a", condition: { $case: "anyOf", value: { values: [] } } }] },
      ],
      [
        "metadata_filters.range",
        { metadataFilters: [{ key: "a", condition: { $case: "range", value: { from: "", before: "" } } }] },
      ],
    ] as const) {
      it(`${what} of ${JSON.stringify(list, (_key, value: unknown) => (typeof value === "bigint" ? `${value}` : value))} is refused and named`, async () => {
        const error = await refusal(
          grey.transactions.listTransactions({
            of: { $case: "userId", value: world.userId },
            pageSize: 0,
            pageToken: "",
            createTimeFrom: undefined,
            createTimeBefore: undefined,
            ...({ kinds: [], states: [], ...list } as { kinds: []; states: [] }),
          }),
        );
        expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
        expect([...error.violations.keys()].map(withoutSubscript)).to.deep.equal([what]);
      });
    }

    it("a field that the service does not know is passed over", async () => {
      const request = TransferRequest.encode(transferOf(world.walletId, world.otherWalletId)).finish();
      const answer = await raw.call(TRANSFER, Buffer.concat([request, Buffer.from([0xfa, 0x07, 3, 1, 2, 3])]));
      expect(answer.error).to.equal(undefined);
    });

    it("what was checked is what is posted: a field sent in two parts is not read in two ways", async () => {
      const request = transferOf(world.walletId, world.otherWalletId);
      const whole = TransferRequest.encode(request).finish();
      const before = await balanceOf(world.otherWalletId);
      // The amount once more, as an empty message: by protobuf's rules both parts are one.
      const inTwoParts = await raw.call(TRANSFER, Buffer.concat([whole, Buffer.from([0x22, 0])]));
      expect(inTwoParts.error, inTwoParts.error?.message).to.equal(undefined);
      expect(await balanceOf(world.otherWalletId)).to.equal(before + 1n);
    });

    it("what is no protobuf message is INVALID_REQUEST", async () => {
      for (const bytes of [[0xff], [0x0a, 0x7f], [0x0a, 2, 0xff, 0xfe], [0x07]]) {
        const { error } = await raw.call(TRANSFER, Uint8Array.from(bytes));
        expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      }
    });
  });

  describe("frames", () => {
    afterEach("others are served", async () => {
      await grey.users.getUser({ by: { $case: "id", value: world.userId } });
    });

    it("a message beyond GREY_REQUEST_BYTES_MAX is RESOURCE_EXHAUSTED", async () => {
      const { error } = await raw.call(TRANSFER, Buffer.alloc(4_194_305, 0x41));
      expect(error?.code).to.equal("RESOURCE_EXHAUSTED");
    });

    it("a small message that unpacks to a huge one is RESOURCE_EXHAUSTED", async () => {
      const bomb = gzipSync(Buffer.alloc(256 * 1_048_576));
      expect(bomb.length).to.be.lessThan(1_048_576);
      const ending = await postBare(server.address, TRANSFER, frame(bomb, { isCompressed: true }), {
        "grpc-encoding": "gzip",
      });
      expect(ending?.["grpc-status"]).to.equal("8");
    });

    it("a frame that is shorter than it says is not answered as a call", async () => {
      const request = TransferRequest.encode(transferOf(world.walletId, world.otherWalletId)).finish();
      const before = await contentsOf();
      const cut = frame(request).subarray(0, 5 + request.length - 1);
      const ending = await postBare(server.address, TRANSFER, cut);
      expect(ending?.["grpc-status"]).not.to.equal("0");
      expect(await contentsOf()).to.deep.equal(before);
    });

    it("a compression that nobody knows is UNIMPLEMENTED", async () => {
      const ending = await postBare(server.address, TRANSFER, frame(Buffer.from("?"), { isCompressed: true }), {
        "grpc-encoding": "snappy",
      });
      expect(ending?.["grpc-status"]).to.equal("12");
    });
  });

  /** The answer to the request; that of the item, where a batch or a stream answers for each. */
  async function send(method: DescMethod, bytes: Uint8Array): Promise<RawAnswer> {
    const answer = await raw[WAY[method.methodKind]](`/${keyOf(method)}`, bytes, { timeoutMs: 20_000 });
    if (answer.error !== undefined) return answer;
    const [refused] = itemErrorsOf(reflect(method.output, fromBinary(method.output, answer.bytes)));
    return refused === undefined ? answer : { error: refused, trailers: answer.trailers };
  }

  function allSamples(method: DescMethod, examples: readonly Example[]): Sample[] {
    // A field that an earlier example has is not tried again.
    return examples.flatMap((example, index) => {
      const earlier = examples.slice(0, index).flatMap((one) => Object.keys(one(world)));
      return samplesOf(
        method.input,
        () => requestOf(method, example(world)),
        (name) => index === 0 || (name in example(world) && !earlier.includes(name)),
      );
    });
  }

  /** What is wrong with what a request left in the database; undefined when nothing is. */
  function wrongTraceOf(
    method: DescMethod,
    { label, bytes }: Sample,
    { error }: RawAnswer,
    before: Counts,
    after: Counts,
  ): string | undefined {
    const changed = (Object.keys(after) as (keyof Counts)[]).filter((name) => after[name] !== before[name]);
    const isOneMore = (name: keyof Counts): boolean => after[name] - before[name] === 1n;
    // What is only tried out leaves no trace.
    if (isTriedOut(method, bytes) && changed.length === 0) return undefined;
    if (error === undefined)
      return isOneMore("requests") ? undefined : `${label}: answered without keeping the request`;
    const isMovement = error.info.transaction_id !== undefined && error.reason !== "METADATA_EXCEEDED";
    const expected =
      error.reason === "REQUEST_ID_REUSED" ||
      error.reason === "HOLD_NOT_FOUND" ||
      error.reason === "QUOTE_INVALID" ||
      error.reason === "TRANSACTION_NOT_FOUND"
        ? []
        : isMovement
          ? (["journal", "rejected", "requests"] as const)
          : (["requests"] as const);
    const isRight = [...changed].sort().join() === expected.join() && expected.every(isOneMore);
    return isRight ? undefined : `${label}: ${error.reason} of ${method.name} changed ${changed.join()}`;
  }

  /** How much there is of what requests write. */
  async function countsOf(): Promise<Counts> {
    const { rows } = await database.query<Record<keyof Counts, string>>(`
      SELECT (SELECT count(*) FROM requests WHERE caller <> '${LEDGER_CALLER}') AS requests,
        (SELECT count(*) FROM transactions WHERE state = 2) AS rejected,
        (SELECT count(*) FROM transactions WHERE state = 1) AS posted,
        (SELECT count(*) FROM entries) AS entries,
        (SELECT size FROM journal_head) AS journal,
        (SELECT count(*) + sum(revision) FROM users) AS users,
        (SELECT count(*) + sum(revision) FROM wallets) AS wallets,
        (SELECT count(*) + sum(sequence) + sum(balance) FROM accounts) AS accounts,
        (SELECT count(*) FROM currencies) AS currencies`);
    return Object.fromEntries(
      Object.entries(rows[0]!).map(([name, count]) => [name, BigInt(count)]),
    ) as unknown as Counts;
  }

  /** A digest of every table. */
  async function contentsOf(): Promise<unknown> {
    const { rows: tables } = await database.query<{ name: string }>(
      // That the books were checked changes nothing of them.
      `SELECT table_name AS name FROM information_schema.tables
       WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'integrity_checks'`,
    );
    expect(tables.length).to.be.greaterThan(9);
    const digests = tables.map(
      ({ name }) =>
        `SELECT '${name}' AS name, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest FROM "${name}" t`,
    );
    return (await database.query(`${digests.join(" UNION ALL ")} ORDER BY name`)).rows;
  }

  async function createWorld(): Promise<World> {
    const email = newEmail();
    const create = (email: string) =>
      grey.users.createUser({ requestId: randomUUID(), name: "World", email, metadata: {} });
    const userId = (await create(email)).user!.id;
    const walletId = await createWallet({ currencyCode: "USD", minorUnits: 1_000_000n }, userId);
    const otherWalletId = await createWallet({ currencyCode: "USD", minorUnits: 1_000_000n }, userId);
    const { transaction } = await grey.transactions.transfer(transferOf(walletId, otherWalletId));
    const hold = async () =>
      (
        await grey.transactions.hold({
          requestId: randomUUID(),
          walletId,
          toWalletId: "",
          amount: { currencyCode: "USD", minorUnits: 100_000n },
          expiry: undefined,
          description: "",
          metadata: {},
        })
      ).hold!.id;
    const schedule = async () =>
      (
        await grey.schedules.createSchedule(
          CreateScheduleRequest.fromPartial({
            requestId: randomUUID(),
            movement: { $case: "deposit", value: { walletId, amount: { currencyCode: "USD", minorUnits: 1n } } },
            when: { $case: "once", value: { seconds: BigInt(Math.floor(Date.now() / 1_000) + 86_400) } },
          }),
        )
      ).schedule!.id;
    const pausedScheduleId = await schedule();
    await grey.schedules.pauseSchedule({ requestId: randomUUID(), scheduleId: pausedScheduleId });
    const alert = async () =>
      (
        await grey.alerts.createAlert({
          requestId: randomUUID(),
          walletId,
          threshold: { currencyCode: "USD", minorUnits: 0n },
          direction: AlertDirection.BOTH,
          balance: AlertBalance.AVAILABLE,
        })
      ).alert!.id;
    const nothing = { currencyCode: "USD", minorUnits: 0n };
    const frozenWalletId = await createWallet(nothing, userId);
    await grey.wallets.freezeWallet({ requestId: randomUUID(), walletId: frozenWalletId, reason: "a case" });
    const closedWalletId = await createWallet(nothing, userId);
    await grey.wallets.closeWallet({ requestId: randomUUID(), walletId: closedWalletId, reason: "left" });
    const rate = { sourceCurrencyCode: "USD", targetCurrencyCode: "EUR", validFrom: undefined, validUntil: undefined };
    await grey.ledger.setRate({ ...rate, requestId: randomUUID(), rate: "0.92" });
    const { quote } = await grey.transactions.getQuote({
      ...rate,
      amount: { $case: "sourceMinorUnits", value: 100n },
      expiresIn: { seconds: 3_600n, nanos: 0 },
    });
    return {
      quote,
      euroWalletId: await createWallet({ currencyCode: "EUR", minorUnits: 0n }, userId),
      calmWalletId: await createWallet(nothing, userId),
      frozenWalletId,
      emptyWalletId: await createWallet(nothing, userId),
      closedWalletId,
      holdId: await hold(),
      spareHoldId: await hold(),
      email,
      userId,
      walletId,
      otherWalletId,
      spareUserId: (await create(newEmail())).user!.id,
      transactionId: transaction!.id,
      transactionRequestId: transaction!.requestId,
      scheduleId: await schedule(),
      pausedScheduleId,
      spareScheduleId: await schedule(),
      activeScheduleId: await schedule(),
      alertId: await alert(),
      spareAlertId: await alert(),
    };
  }

  async function createWallet(
    initialBalance: { currencyCode: string; minorUnits: bigint },
    userId = world.userId,
  ): Promise<string> {
    const { currencyCode } = initialBalance;
    const { wallet } = await grey.wallets.createWallet({
      requestId: randomUUID(),
      userId,
      currencyCode,
      label: "",
      metadata: {},
      initialBalance,
    });
    return wallet!.id;
  }

  async function balanceOf(walletId: string): Promise<bigint> {
    return (await grey.wallets.getBalance({ walletId })).balance!.posted!.minorUnits;
  }
});

type Counts = Readonly<
  Record<
    "requests" | "rejected" | "posted" | "entries" | "journal" | "users" | "wallets" | "accounts" | "currencies",
    bigint
  >
>;

const TRANSFER = "/grey.transaction.v1.TransactionService/Transfer";

function keyOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** Whether requests of the method, or their items, have an id that they are answered under for ever. */
function isMutating({ input }: DescMethod): boolean {
  return requestFieldsOf(input).some(({ field }) => field.name === "request_id" && field.oneof === undefined);
}

/** Whether the request, as the service understands it, is only tried out: odd bytes of another field may say so. */
function isTriedOut({ input }: DescMethod, bytes: Uint8Array): boolean {
  const message = reflect(input, fromBinary(input, bytes));
  const item = input.fields.find((field) => field.name === "transfer");
  const holders = item?.fieldKind === "message" && message.isSet(item) ? [message, message.get(item)] : [message];
  return holders.some((holder) => {
    const field = holder.desc.fields.find((one) => one.name === "dry_run");
    return field !== undefined && holder.get(field) === true;
  });
}

/** Whether the answer may hold errors of its own. */
function hasItems({ output }: DescMethod): boolean {
  return requestFieldsOf(output).some(({ field }) => field.message?.typeName === "google.rpc.Status");
}

function itemErrorsOf(message: ReflectMessage): CallError[] {
  return message.fields.flatMap((field) => {
    if (field.fieldKind === "list" && field.listKind === "message") {
      return [...(message.get(field) as Iterable<ReflectMessage>)].flatMap(itemErrorsOf);
    }
    if (field.fieldKind !== "message" || !message.isSet(field)) return [];
    const inner = message.get(field);
    if (inner.desc.typeName !== "google.rpc.Status") return itemErrorsOf(inner);
    const bytes = Buffer.from(toBinary(inner.desc, inner.message));
    const { code, message: details } = Status.decode(bytes);
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", bytes);
    return [new CallError(Object.assign(new Error(details), { code, details, metadata }))];
  });
}

function requestOf({ input }: DescMethod, example: JsonObject): Message {
  const isOfItsOwn = input.fields.some((field) => field.name === "request_id" && field.oneof === undefined);
  return fromJson(input, isOfItsOwn ? { ...example, request_id: randomUUID() } : example, { registry });
}

/** `metadata["a"]` and `ids[3]` are of the fields metadata and ids. */
function withoutSubscript(field: string): string {
  return field.replace(/\[("[\s\S]*|\d+\])/g, "");
}

/** What the work found wrong. */
async function inParallel<T>(things: readonly T[], work: (thing: T) => Promise<string | undefined>): Promise<string[]> {
  const problems: string[] = [];
  const rest = things.values();
  const worker = async (): Promise<void> => {
    for (const thing of rest) {
      const problem = await work(thing);
      if (problem !== undefined) problems.push(problem);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return problems;
}

function newEmail(): string {
  return `${randomUUID()}@example.com`;
}

/** The code of a currency that there is not yet. */
function newCode(): string {
  return `T${randomUUID().replaceAll("-", "").slice(0, 10).toUpperCase()}`;
}

function transferIn({ walletId, otherWalletId }: World): JsonObject {
  return { request_id: randomUUID(), from_wallet_id: walletId, to_wallet_id: otherWalletId, ...movement() };
}

function movement(): JsonObject {
  return { amount: { currency_code: "USD", minor_units: "1" }, ...asked() };
}

function asked(): JsonObject {
  return {
    description: "lunch",
    metadata: { team: "a" },
    effective_time: "2026-01-01T00:00:00Z",
    external_reference: "INV-17",
  };
}

function someLimits(): JsonObject {
  return {
    min_balance: "-5",
    max_balance: "500",
    velocity: [
      {
        name: "daily",
        direction: "VELOCITY_DIRECTION_OUTGOING",
        kinds: ["TRANSACTION_KIND_TRANSFER", "TRANSACTION_KIND_WITHDRAWAL"],
        window_seconds: "86400",
        max_amount: "100",
        max_count: "3",
      },
    ],
  };
}

function scheduled(): JsonObject {
  return { amount: { currency_code: "USD", minor_units: "1" }, description: "rent", metadata: { team: "a" } };
}

function inDays(days: number): string {
  return new Date(Date.now() + days * 86_400_000).toISOString();
}

function transferOf(fromWalletId: string, toWalletId: string) {
  return { ...moneyOf(), fromWalletId, toWalletId };
}

function depositOf(walletId: string) {
  return { ...moneyOf(), walletId, systemAccount: "" };
}

function moneyOf() {
  return {
    requestId: randomUUID(),
    amount: { currencyCode: "USD", minorUnits: 1n },
    description: "",
    metadata: {},
    externalReference: "",
    effectiveTime: undefined,
    preconditions: [],
    amountMode: 0,
    dryRun: false,
  };
}
