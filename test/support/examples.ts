import { randomUUID } from "node:crypto";
import { fromJson, type DescMethod, type JsonObject, type Message } from "@bufbuild/protobuf";
import { AlertBalance, AlertDirection } from "../../generated/grey/alert/v1/alert_service.js";
import { CreateScheduleRequest } from "../../generated/grey/schedule/v1/schedule.js";
import type { Clients } from "./client.js";
import { registry } from "./corpus.js";

/** What requests may speak of. */
export interface World {
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

export type Example = (world: World) => JsonObject;

/** Valid requests of every RPC, between them with every field of a oneof; request_id is added. An RPC without one fails. */
export const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
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

/** Every method of the contract. */
export const METHODS: readonly DescMethod[] = [...registry]
  .filter((desc) => desc.kind === "service" && desc.typeName.startsWith("grey."))
  .flatMap((service) => (service.kind === "service" ? service.methods : []));

/** As `grey.user.v1.UserService/GetUser`. */
export function keyOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}

/** The example as a request of its own. */
export function requestOf({ input }: DescMethod, example: JsonObject): Message {
  const isOfItsOwn = input.fields.some((field) => field.name === "request_id" && field.oneof === undefined);
  return fromJson(input, isOfItsOwn ? { ...example, request_id: randomUUID() } : example, { registry });
}

/** Makes everything that the examples speak of. */
export async function createWorld(grey: Clients): Promise<World> {
  const email = newEmail();
  const create = (email: string) =>
    grey.users.createUser({ requestId: randomUUID(), name: "World", email, metadata: {} });
  const userId = (await create(email)).user!.id;
  const walletId = await openWallet(grey, { currencyCode: "USD", minorUnits: 1_000_000n }, userId);
  const otherWalletId = await openWallet(grey, { currencyCode: "USD", minorUnits: 1_000_000n }, userId);
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
  const frozenWalletId = await openWallet(grey, nothing, userId);
  await grey.wallets.freezeWallet({ requestId: randomUUID(), walletId: frozenWalletId, reason: "a case" });
  const closedWalletId = await openWallet(grey, nothing, userId);
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
    euroWalletId: await openWallet(grey, { currencyCode: "EUR", minorUnits: 0n }, userId),
    calmWalletId: await openWallet(grey, nothing, userId),
    frozenWalletId,
    emptyWalletId: await openWallet(grey, nothing, userId),
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

/** Opens a wallet with what it holds from the start. */
export async function openWallet(
  grey: Clients,
  initialBalance: { currencyCode: string; minorUnits: bigint },
  userId: string,
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

export function newEmail(): string {
  return `${randomUUID()}@example.com`;
}

/** The code of a currency that there is not yet. */
export function newCode(): string {
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

export function transferOf(fromWalletId: string, toWalletId: string) {
  return { ...moneyOf(), fromWalletId, toWalletId };
}

export function depositOf(walletId: string) {
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
