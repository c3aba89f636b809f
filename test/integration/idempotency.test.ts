import { AmountMode, Precondition } from "../../generated/grey/transaction/v1/transaction.js";
import { expect } from "chai";
import type pg from "pg";
import {
  AlertBalance,
  AlertDirection,
  type CreateAlertRequest,
  type DeleteAlertRequest,
} from "../../generated/grey/alert/v1/alert_service.js";
import { CreateAccountRequest, NormalSide } from "../../generated/grey/ledger/v1/account.js";
import { CreateCurrencyRequest } from "../../generated/grey/ledger/v1/currency.js";
import { SetDefaultLimitsRequest, SetLimitsRequest } from "../../generated/grey/ledger/v1/limits.js";
import { SetRateRequest } from "../../generated/grey/ledger/v1/rate.js";
import {
  type CancelScheduleRequest,
  CreateScheduleRequest,
  InsufficientFundsPolicy,
  ScheduledDeposit,
} from "../../generated/grey/schedule/v1/schedule.js";
import type { DepositRequest, TransferRequest, WithdrawRequest } from "../../generated/grey/transaction/v1/movement.js";
import { SetTransactionMetadataRequest } from "../../generated/grey/transaction/v1/metadata.js";
import {
  type CreateUserRequest,
  DeleteUserRequest,
  UpdateUserRequest,
} from "../../generated/grey/user/v1/user_service.js";
import { type CreateWalletRequest, UpdateWalletRequest } from "../../generated/grey/wallet/v1/wallet.js";
import { newId, systemAccountId, type Uuid } from "../../src/base/ids.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import {
  balanceOf,
  countRows,
  depositRequest,
  makeUser,
  makeWallet,
  money,
  openAdmin,
  transferRequest,
  userRequest,
  walletRequest,
  withdrawRequest,
} from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

interface Asking {
  readonly requestId: string;
}
interface Answering {
  readonly replayed: boolean;
}

/** A method that answers a request once: how to call it, a request that succeeds, and how each of its fields can differ. */
interface Method<Request extends Asking> {
  readonly name: string;
  readonly send: (clients: Clients, request: Request) => Promise<Answering>;
  /** A new request. */
  readonly make: (clients: Clients) => Promise<Request>;
  /** For each field, as the contract names it: a valid request with only that one different. */
  readonly differing: Readonly<Record<string, (request: Request) => Partial<Request>>>;
  /** What the contract's annotations refuse. */
  readonly malformed: Partial<Request>;
  /** How many rows a request adds. */
  readonly writes: Readonly<Record<string, bigint>>;
}

/** The method with its request's type forgotten; a request goes only to the method that made it. */
function method<Request extends Asking>(one: Method<Request>): Method<Asking> {
  return one as unknown as Method<Asking>;
}

const MOVEMENT_WRITES = { transactions: 1n, entries: 2n, requests: 1n, records: 1n };
const ANOTHER_ID = "01890a5d-ac96-774b-bcce-b302099a8057";

const movementDiffers = {
  "amount.minor_units": ({ amount }: { amount: TransferRequest["amount"] }) => ({
    amount: money(amount!.minorUnits + 1n),
  }),
  "amount.currency_code": ({ amount }: { amount: TransferRequest["amount"] }) => ({
    amount: money(amount!.minorUnits, "EUR"),
  }),
  description: () => ({ description: "another" }),
  metadata: () => ({ metadata: { a: "1", b: "another" } }),
  effective_time: () => ({ effectiveTime: { seconds: 1n, nanos: 0 } }),
  external_reference: () => ({ externalReference: "INV-18" }),
  preconditions: () => ({
    preconditions: [Precondition.fromPartial({ walletId: ANOTHER_ID, expectedVersion: 1n })],
  }),
};

const amountModeDiffers = { amount_mode: () => ({ amountMode: AmountMode.UP_TO }) };

const METHODS: readonly Method<Asking>[] = [
  method<TransferRequest>({
    name: "Transfer",
    send: ({ transactions }, request) => transactions.transfer(request),
    make: async (clients) => {
      const [from, to] = [await makeWallet(clients, { minorUnits: 1_000n }), await makeWallet(clients)];
      return transferRequest(from.id, to.id, 10n, { description: "one", metadata: { a: "1", b: "2" } });
    },
    differing: {
      from_wallet_id: () => ({ fromWalletId: ANOTHER_ID }),
      to_wallet_id: () => ({ toWalletId: ANOTHER_ID }),
      ...movementDiffers,
      ...amountModeDiffers,
    },
    malformed: { amount: money(0n) },
    writes: MOVEMENT_WRITES,
  }),
  method<DepositRequest>({
    name: "Deposit",
    send: ({ transactions }, request) => transactions.deposit(request),
    make: async (clients) => depositRequest((await makeWallet(clients)).id, 10n),
    differing: {
      wallet_id: () => ({ walletId: ANOTHER_ID }),
      system_account: () => ({ systemAccount: "fees" }),
      ...movementDiffers,
    },
    malformed: { amount: money(-1n) },
    writes: MOVEMENT_WRITES,
  }),
  method<WithdrawRequest>({
    name: "Withdraw",
    send: ({ transactions }, request) => transactions.withdraw(request),
    make: async (clients) => withdrawRequest((await makeWallet(clients, { minorUnits: 1_000n })).id, 10n),
    differing: {
      wallet_id: () => ({ walletId: ANOTHER_ID }),
      system_account: () => ({ systemAccount: "fees" }),
      ...movementDiffers,
      ...amountModeDiffers,
    },
    malformed: { walletId: "w1" },
    writes: MOVEMENT_WRITES,
  }),
  method<CreateUserRequest>({
    name: "CreateUser",
    send: ({ users }, request) => users.createUser(request),
    make: () => Promise.resolve(userRequest({ metadata: { a: "1" } })),
    differing: {
      name: () => ({ name: "Another" }),
      email: () => ({ email: `${newId()}@example.com` }),
      metadata: () => ({ metadata: {} }),
    },
    malformed: { email: "nobody" },
    writes: { users: 1n, requests: 1n, records: 1n },
  }),
  method<UpdateUserRequest>({
    name: "UpdateUser",
    send: ({ users }, request) => users.updateUser(request),
    make: async (clients) => {
      const { id, etag } = await makeUser(clients);
      return UpdateUserRequest.fromPartial({ requestId: newId(), userId: id, name: "New", etag, updateMask: ["name"] });
    },
    differing: {
      user_id: () => ({ userId: ANOTHER_ID }),
      name: () => ({ name: "Another" }),
      email: () => ({ email: "another@example.com" }),
      metadata: () => ({ metadata: { a: "another" } }),
      update_mask: () => ({ updateMask: ["name", "metadata"] }),
      etag: () => ({ etag: "" }),
    },
    malformed: { updateMask: ["delete_time"] },
    writes: { requests: 1n, records: 1n },
  }),
  method<DeleteUserRequest>({
    name: "DeleteUser",
    send: ({ users }, request) => users.deleteUser(request),
    make: async (clients) => {
      const { id, etag } = await makeUser(clients);
      return DeleteUserRequest.fromPartial({ requestId: newId(), userId: id, etag });
    },
    differing: { user_id: () => ({ userId: ANOTHER_ID }), etag: () => ({ etag: "" }) },
    malformed: { userId: "" },
    writes: { requests: 1n, records: 1n },
  }),
  method<CreateWalletRequest>({
    name: "CreateWallet",
    send: ({ wallets }, request) => wallets.createWallet(request),
    make: async (clients) => walletRequest({ userId: (await makeUser(clients)).id, minorUnits: 100n, label: "one" }),
    differing: {
      user_id: () => ({ userId: ANOTHER_ID }),
      label: () => ({ label: "another" }),
      initial_balance: () => ({ initialBalance: money(101n) }),
      metadata: () => ({ metadata: { a: "another" } }),
      "currency_code,initial_balance": () => ({ currencyCode: "EUR", initialBalance: money(100n, "EUR") }),
    },
    malformed: { currencyCode: "usd" },
    writes: { wallets: 1n, accounts: 1n, transactions: 1n, entries: 2n, requests: 1n, records: 2n },
  }),
  method<UpdateWalletRequest>({
    name: "UpdateWallet",
    send: ({ wallets }, request) => wallets.updateWallet(request),
    make: async (clients) => {
      const { id, etag } = await makeWallet(clients);
      return UpdateWalletRequest.fromPartial({
        requestId: newId(),
        walletId: id,
        label: "new",
        etag,
        updateMask: ["label"],
      });
    },
    differing: {
      wallet_id: () => ({ walletId: ANOTHER_ID }),
      label: () => ({ label: "another" }),
      metadata: () => ({ metadata: { a: "another" } }),
      update_mask: () => ({ updateMask: ["metadata"] }),
      etag: () => ({ etag: "" }),
    },
    malformed: { updateMask: [] },
    writes: { requests: 1n, records: 1n },
  }),
  method<SetTransactionMetadataRequest>({
    name: "SetTransactionMetadata",
    send: ({ transactions }, request) => transactions.setTransactionMetadata(request),
    make: async (clients) => {
      const { transaction } = await clients.transactions.deposit(depositRequest((await makeWallet(clients)).id, 10n));
      const change = { transactionId: transaction!.id, set: { a: "1", b: "2" }, remove: ["c"] };
      return SetTransactionMetadataRequest.fromPartial({ requestId: newId(), ...change });
    },
    differing: {
      transaction_id: () => ({ transactionId: ANOTHER_ID }),
      set: () => ({ set: { a: "1" } }),
      remove: () => ({ remove: [] }),
    },
    malformed: { remove: ["a"] },
    writes: { requests: 1n, records: 1n },
  }),
  method<CreateCurrencyRequest>({
    name: "CreateCurrency",
    send: ({ ledger }, request) => ledger.createCurrency(request),
    make: () =>
      Promise.resolve(
        CreateCurrencyRequest.fromPartial({ requestId: newId(), code: newCode(), exponent: 2, name: "Points" }),
      ),
    differing: {
      code: () => ({ code: newCode() }),
      exponent: () => ({ exponent: 3 }),
      name: () => ({ name: "Another" }),
    },
    malformed: { exponent: 19 },
    writes: { currencies: 1n, accounts: 4n, requests: 1n, records: 1n },
  }),
  method<CreateAccountRequest>({
    name: "CreateAccount",
    send: ({ ledger }, request) => ledger.createAccount(request),
    make: () =>
      Promise.resolve(
        CreateAccountRequest.fromPartial({
          requestId: newId(),
          systemAccount: { name: `a${newCode().toLowerCase()}`, currencyCode: "USD" },
          normalSide: NormalSide.CREDIT,
        }),
      ),
    differing: {
      system_account: () => ({ systemAccount: { name: "another", currencyCode: "USD" } }),
      normal_side: () => ({ normalSide: NormalSide.DEBIT }),
      min_balance: () => ({ minBalance: -1n }),
      max_balance: () => ({ maxBalance: 1n }),
    },
    malformed: { minBalance: 1n },
    writes: { accounts: 1n, requests: 1n, records: 1n },
  }),
  method<SetLimitsRequest>({
    name: "SetLimits",
    send: ({ ledger }, request) => ledger.setLimits(request),
    make: async (clients) =>
      SetLimitsRequest.fromPartial({
        requestId: newId(),
        account: { $case: "walletId", value: (await makeWallet(clients)).id },
        limits: { minBalance: -5n },
        reason: "one",
      }),
    differing: {
      wallet_id: () => ({ account: { $case: "walletId", value: ANOTHER_ID } }),
      limits: () => ({ limits: { minBalance: -6n, maxBalance: undefined, velocity: [] } }),
      reason: () => ({ reason: "another" }),
    },
    malformed: { limits: { minBalance: 5n, maxBalance: 4n, velocity: [] } },
    writes: { requests: 1n, records: 1n },
  }),
  method<SetDefaultLimitsRequest>({
    name: "SetDefaultLimits",
    send: ({ ledger }, request) => ledger.setDefaultLimits(request),
    make: () =>
      Promise.resolve(
        SetDefaultLimitsRequest.fromPartial({ requestId: newId(), currencyCode: "NZD", limits: { maxBalance: 5n } }),
      ),
    differing: {
      currency_code: () => ({ currencyCode: "AUD" }),
      limits: () => ({ limits: { minBalance: undefined, maxBalance: 6n, velocity: [] } }),
      reason: () => ({ reason: "another" }),
    },
    malformed: { currencyCode: "nzd" },
    writes: { requests: 1n, records: 1n },
  }),
  method<SetRateRequest>({
    name: "SetRate",
    send: ({ ledger }, request) => ledger.setRate(request),
    make: () =>
      Promise.resolve(
        SetRateRequest.fromPartial({
          requestId: newId(),
          sourceCurrencyCode: "NZD",
          targetCurrencyCode: "AUD",
          rate: "0.9",
          validFrom: { seconds: 6_000_000_000n },
          validUntil: { seconds: 7_000_000_000n },
        }),
      ),
    differing: {
      source_currency_code: () => ({ sourceCurrencyCode: "USD" }),
      target_currency_code: () => ({ targetCurrencyCode: "USD" }),
      rate: () => ({ rate: "0.90" }),
      valid_from: () => ({ validFrom: { seconds: 6_000_000_001n, nanos: 0 } }),
      valid_until: () => ({ validUntil: undefined }),
    },
    malformed: { rate: "0.00" },
    writes: { requests: 1n, records: 1n },
  }),
  method<CreateScheduleRequest>({
    name: "CreateSchedule",
    send: ({ schedules }, request) => schedules.createSchedule(request),
    make: async (clients) => scheduleRequest((await makeWallet(clients)).id),
    differing: {
      deposit: ({ movement }) => ({
        movement: {
          $case: "deposit",
          value: ScheduledDeposit.fromPartial({ ...movement!.value, amount: money(11n) }),
        },
      }),
      once: () => ({ when: { $case: "once", value: { seconds: tomorrow() + 1n, nanos: 0 } } }),
      on_insufficient_funds: () => ({ onInsufficientFunds: InsufficientFundsPolicy.FAIL }),
      retry_interval: () => ({ retryInterval: { seconds: 5n, nanos: 0 } }),
      retry_max: () => ({ retryMax: 7 }),
    },
    malformed: { retryMax: 101 },
    writes: { requests: 1n, records: 1n },
  }),
  method<CancelScheduleRequest>({
    name: "CancelSchedule",
    send: ({ schedules }, request) => schedules.cancelSchedule(request),
    make: async (clients) => {
      const { schedule } = await clients.schedules.createSchedule(scheduleRequest((await makeWallet(clients)).id));
      return { requestId: newId(), scheduleId: schedule!.id };
    },
    differing: { schedule_id: () => ({ scheduleId: ANOTHER_ID }) },
    malformed: { scheduleId: "" },
    // The request id of the run that is not made is used up too.
    writes: { requests: 2n, records: 1n },
  }),
  method<CreateAlertRequest>({
    name: "CreateAlert",
    send: ({ alerts }, request) => alerts.createAlert(request),
    make: async (clients) => alertRequest((await makeWallet(clients)).id),
    differing: {
      wallet_id: () => ({ walletId: ANOTHER_ID }),
      threshold: () => ({ threshold: money(11n) }),
      direction: () => ({ direction: AlertDirection.BOTH }),
      balance: () => ({ balance: AlertBalance.AVAILABLE }),
    },
    malformed: { direction: AlertDirection.UNSPECIFIED },
    writes: { requests: 1n, records: 1n },
  }),
  method<DeleteAlertRequest>({
    name: "DeleteAlert",
    send: ({ alerts }, request) => alerts.deleteAlert(request),
    make: async (clients) => {
      const { alert } = await clients.alerts.createAlert(alertRequest((await makeWallet(clients)).id));
      return { requestId: newId(), alertId: alert!.id };
    },
    differing: { alert_id: () => ({ alertId: ANOTHER_ID }) },
    malformed: { alertId: "a1" },
    writes: { requests: 1n, records: 1n },
  }),
];

function tomorrow(): bigint {
  return BigInt(Math.floor(Date.now() / 1_000) + 86_400);
}

function scheduleRequest(walletId: Uuid): CreateScheduleRequest {
  return CreateScheduleRequest.fromPartial({
    requestId: newId(),
    movement: { $case: "deposit", value: { walletId, amount: money(10n) } },
    when: { $case: "once", value: { seconds: tomorrow() } },
  });
}

function alertRequest(walletId: Uuid): CreateAlertRequest {
  const what = { threshold: money(10n), direction: AlertDirection.DOWN, balance: AlertBalance.POSTED };
  return { requestId: newId(), walletId, ...what };
}

let codes = 0;

/** A currency code that nobody has. */
function newCode(): string {
  codes += 1;
  return `PTS${codes}`;
}

describe("a request that is sent again", () => {
  const COPIES = 50;
  let servers: TestServer[];
  let clients: Clients[];
  let admin: pg.Client;

  before(async () => {
    const first = await startServer();
    const second = await startServer({ DATABASE_URL: first.databaseUrl, GREY_DATABASE_STATEMENT_TIMEOUT_MS: "300" });
    servers = [second, first];
    clients = [connect(first.address), connect(second.address)];
    admin = await openAdmin(first.databaseUrl);
  });
  after(async () => {
    for (const one of clients) one.close();
    await admin.end();
    for (const server of servers) await server.stop();
  });

  /** Runs the work and says how many rows it added, by table. */
  async function rowsAddedBy(work: () => Promise<unknown>): Promise<Record<string, bigint>> {
    const before = await countRows(admin);
    await work();
    const after = await countRows(admin);
    const added = Object.keys(after).map((table) => [table, after[table]! - before[table]!] as const);
    return Object.fromEntries(added.filter(([, count]) => count !== 0n));
  }

  for (const { name, send, make, differing, malformed, writes } of METHODS) {
    describe(`to ${name}`, () => {
      it(`${COPIES} times at once, to two servers, is done once and answered ${COPIES} times with the same`, async () => {
        const request = await make(clients[0]!);
        let answers: Answering[] = [];
        const added = await rowsAddedBy(async () => {
          answers = await Promise.all(Array.from({ length: COPIES }, (_, n) => send(clients[n % 2]!, request)));
        });
        expect(added).to.deep.equal(writes);
        const [first, ...others] = answers.toSorted((a, b) => Number(a.replayed) - Number(b.replayed));
        expect(first!.replayed).to.equal(false);
        expect(others).to.have.lengthOf(COPIES - 1);
        for (const other of others) expect(other).to.deep.equal({ ...first, replayed: true });
      });

      it("later gets the same answer, whatever the case of its ids", async () => {
        const request = await make(clients[0]!);
        const first = await send(clients[0]!, request);
        const upper = Object.fromEntries(
          Object.entries(request).map(([field, value]) => [
            field,
            /(?:^i|I)d$/.test(field) ? String(value).toUpperCase() : value,
          ]),
        );
        const added = await rowsAddedBy(async () => {
          expect(await send(clients[1]!, request)).to.deep.equal({ ...first, replayed: true });
          expect(await send(clients[0]!, upper as unknown as Asking)).to.deep.equal({ ...first, replayed: true });
        });
        expect(added).to.deep.equal({});
      });

      for (const [fields, change] of Object.entries(differing)) {
        it(`with another ${fields} is refused and names exactly that`, async () => {
          const request = await make(clients[0]!);
          await send(clients[0]!, request);
          const added = await rowsAddedBy(async () => {
            const error = await refusal(send(clients[0]!, { ...request, ...change(request) }));
            assertReused(error, request.requestId, fields);
          });
          expect(added).to.deep.equal({});
        });
      }

      it("can differ in every field that it has", async () => {
        const request = await make(clients[0]!);
        const fields = Object.entries(request)
          // What is only tried out uses no request id.
          .filter(([field]) => field !== "requestId" && field !== "dryRun")
          // Of a choice of fields the one that is set.
          .map(([field, value]) => (value as { $case?: string } | undefined)?.$case ?? field)
          .map((field) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
        const tested = new Set(
          Object.keys(differing)
            .flatMap((names) => names.split(","))
            .map((field) => field.split(".")[0]!),
        );
        expect([...tested].sort()).to.deep.equal(fields.sort());
      });

      it("to any other method under the same id is refused and names the method", async () => {
        const request = await make(clients[0]!);
        await send(clients[0]!, request);
        for (const other of METHODS.filter((one) => one.name !== name)) {
          const changed = { ...(await other.make(clients[0]!)), requestId: request.requestId };
          const added = await rowsAddedBy(async () => {
            assertReused(await refusal(other.send(clients[0]!, changed)), request.requestId, "method");
          });
          expect(added, other.name).to.deep.equal({});
        }
      });

      it("after it was malformed is done as if for the first time", async () => {
        const request = await make(clients[0]!);
        const added = await rowsAddedBy(async () => {
          const error = await refusal(send(clients[0]!, { ...request, ...malformed }));
          expect([error.code, error.reason]).to.deep.equal(["INVALID_ARGUMENT", "INVALID_REQUEST"]);
        });
        expect(added).to.deep.equal({});
        expect((await send(clients[0]!, request)).replayed).to.equal(false);
      });

      it("after the database did not serve it in time is done as if for the first time", async () => {
        const request = await make(clients[0]!);
        await admin.query("BEGIN");
        await admin.query("LOCK TABLE requests IN EXCLUSIVE MODE");
        // The second server does not wait long for a lock, so the call ends before the lock does.
        let error: CallError;
        try {
          error = await refusal(send(clients[1]!, request));
        } finally {
          await admin.query("ROLLBACK");
        }
        expect(error.code).to.equal("UNAVAILABLE");
        expect(error.reason).to.be.oneOf(["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]);
        expect(error.retryAfterMs).to.be.greaterThan(0);
        const added = await rowsAddedBy(async () => {
          expect((await send(clients[1]!, request)).replayed).to.equal(false);
        });
        expect(added).to.deep.equal(writes);
      });
    });
  }

  interface Refused {
    readonly reason: string;
    /** Sends a request that is refused; calling it again sends the same one. */
    readonly prepare: () => Promise<() => Promise<unknown>>;
    /** What would make the same request succeed, had it come for the first time. */
    readonly mend?: () => Promise<unknown>;
    readonly writes?: Readonly<Record<string, bigint>>;
  }

  const REJECTED = { transactions: 1n, requests: 1n, records: 1n };
  let wallet: Uuid;
  let other: Uuid;

  function transferOf(make: () => Promise<TransferRequest>): Refused["prepare"] {
    return async () => {
      const request = await make();
      return () => clients[0]!.transactions.transfer(request);
    };
  }

  /** Changes an account as no RPC can yet; the revision tells the servers that what they remember is stale. */
  async function setAccount(id: Uuid, change: string): Promise<void> {
    await admin.query(`UPDATE accounts SET ${change} WHERE id = $1`, [id]);
  }

  const REFUSED: readonly Refused[] = [
    {
      reason: "INSUFFICIENT_FUNDS",
      prepare: transferOf(async () => {
        wallet = (await makeWallet(clients[0]!)).id;
        other = (await makeWallet(clients[0]!)).id;
        return transferRequest(wallet, other, 5n);
      }),
      mend: () => clients[0]!.transactions.deposit(depositRequest(wallet, 100n)),
      writes: REJECTED,
    },
    {
      reason: "SAME_WALLET",
      prepare: transferOf(() => Promise.resolve(transferRequest(wallet, wallet, 5n))),
      writes: REJECTED,
    },
    {
      reason: "WALLET_NOT_FOUND",
      prepare: transferOf(() => Promise.resolve(transferRequest(wallet, newId(), 5n))),
      writes: REJECTED,
    },
    {
      reason: "CURRENCY_MISMATCH",
      prepare: transferOf(async () =>
        transferRequest(wallet, (await makeWallet(clients[0]!, { currencyCode: "EUR" })).id, 5n),
      ),
      writes: REJECTED,
    },
    {
      reason: "WALLET_FROZEN",
      prepare: transferOf(async () => {
        await setAccount(other, "state = 2");
        return transferRequest(wallet, other, 5n);
      }),
      mend: () => setAccount(other, "state = 1"),
      writes: REJECTED,
    },
    {
      reason: "WALLET_CLOSED",
      prepare: transferOf(async () => {
        await setAccount(other, "state = 3");
        return transferRequest(wallet, other, 5n);
      }),
      mend: () => setAccount(other, "state = 1"),
      writes: REJECTED,
    },
    {
      reason: "MAX_BALANCE_EXCEEDED",
      prepare: transferOf(async () => {
        await setAccount(other, "max_balance = 1");
        return transferRequest(wallet, other, 5n);
      }),
      mend: () => setAccount(other, "max_balance = NULL"),
      writes: REJECTED,
    },
    {
      reason: "ACCOUNT_NOT_FOUND",
      prepare: () => {
        const request = depositRequest(wallet, 5n, { systemAccount: "nowhere" });
        return Promise.resolve(() => clients[0]!.transactions.deposit(request));
      },
      writes: REJECTED,
    },
    {
      reason: "EMAIL_TAKEN",
      prepare: async () => {
        const { email, id } = await makeUser(clients[0]!);
        other = id;
        const request = userRequest({ email: email.toUpperCase() });
        return () => clients[0]!.users.createUser(request);
      },
      mend: () =>
        clients[0]!.users.updateUser(
          UpdateUserRequest.fromPartial({
            requestId: newId(),
            userId: other,
            email: `${newId()}@example.com`,
            updateMask: ["email"],
          }),
        ),
    },
    {
      reason: "USER_NOT_FOUND",
      prepare: () => {
        const request = walletRequest({ userId: newId() });
        return Promise.resolve(() => clients[0]!.wallets.createWallet(request));
      },
    },
    {
      reason: "CURRENCY_NOT_FOUND",
      prepare: async () => {
        const currencyCode = newCode();
        const request = walletRequest({ userId: (await makeUser(clients[0]!)).id, currencyCode });
        return () => clients[0]!.wallets.createWallet(request);
      },
      mend: () =>
        clients[0]!.ledger.createCurrency(
          CreateCurrencyRequest.fromPartial({ requestId: newId(), code: `PTS${codes}`, name: "Points" }),
        ),
    },
    {
      reason: "ETAG_MISMATCH",
      prepare: async () => {
        const { id } = await makeUser(clients[0]!);
        const request = UpdateUserRequest.fromPartial({
          requestId: newId(),
          userId: id,
          name: "New",
          etag: "old",
          updateMask: ["name"],
        });
        return () => clients[0]!.users.updateUser(request);
      },
    },
    {
      reason: "USER_HAS_FUNDS",
      prepare: async () => {
        const { id, userId } = await makeWallet(clients[0]!, { minorUnits: 5n });
        wallet = id;
        const request = DeleteUserRequest.fromPartial({ requestId: newId(), userId });
        return () => clients[0]!.users.deleteUser(request);
      },
      mend: () => clients[0]!.transactions.withdraw(withdrawRequest(wallet, 5n)),
    },
    {
      reason: "CURRENCY_EXISTS",
      prepare: () => {
        const request = CreateCurrencyRequest.fromPartial({
          requestId: newId(),
          code: "USD",
          exponent: 2,
          name: "Dollar",
        });
        return Promise.resolve(() => clients[0]!.ledger.createCurrency(request));
      },
    },
  ];

  for (const { reason, prepare, mend, writes = { requests: 1n } } of REFUSED) {
    it(`after it was refused with ${reason} is refused with it for ever, and leaves the books alone`, async () => {
      const send = await prepare();
      const accounts = await accountsNow();
      let first: CallError | undefined;
      expect(
        await rowsAddedBy(async () => {
          first = await refusal(send());
        }),
      ).to.deep.equal(writes);
      expect([first!.reason, first!.info.replayed]).to.deep.equal([reason, undefined]);
      expect(await accountsNow()).to.deep.equal(accounts);
      await mend?.();
      const again = await rowsAddedBy(async () => {
        for (let n = 0; n < 2; n += 1) assertSameRefusal(await refusal(send()), first!);
      });
      expect(again).to.deep.equal({});
    });
  }

  async function accountsNow(): Promise<unknown[]> {
    const { rows } = await admin.query("SELECT id, balance, sequence, state FROM account_states ORDER BY id");
    return rows;
  }

  it(`${COPIES} times at once and refused is one rejected transaction, told ${COPIES} times`, async () => {
    const { id } = await makeWallet(clients[0]!);
    const request = transferRequest(id, (await makeWallet(clients[0]!)).id, 5n);
    let errors: CallError[] = [];
    const added = await rowsAddedBy(async () => {
      errors = await Promise.all(
        Array.from({ length: COPIES }, (_, n) => refusal(clients[n % 2]!.transactions.transfer(request))),
      );
    });
    expect(added).to.deep.equal(REJECTED);
    const [first, ...others] = errors.toSorted(
      (a, b) => Number(a.info.replayed ?? false) - Number(b.info.replayed ?? false),
    );
    expect(first!.info.replayed).to.equal(undefined);
    for (const error of others) assertSameRefusal(error, first!);
  });

  it("and was refused cannot be changed under its id either", async () => {
    const { id } = await makeWallet(clients[0]!);
    const request = transferRequest(id, newId(), 5n);
    await refusal(clients[0]!.transactions.transfer(request));
    const changed = { ...request, amount: money(6n), description: "another" };
    assertReused(
      await refusal(clients[0]!.transactions.transfer(changed)),
      request.requestId,
      "amount.minor_units,description",
    );
    const user = userRequest({ email: (await makeUser(clients[0]!)).email });
    await refusal(clients[0]!.users.createUser(user));
    assertReused(await refusal(clients[0]!.users.createUser({ ...user, name: "Another" })), user.requestId, "name");
  });

  it("at the same moment to two methods is done by one of them", async () => {
    for (let round = 0; round < 5; round += 1) {
      const requestId = newId();
      const user = await makeUser(clients[0]!);
      const { id } = await makeWallet(clients[0]!);
      const added = await rowsAddedBy(async () => {
        const settled = await Promise.allSettled([
          clients[0]!.wallets.createWallet(walletRequest({ requestId, userId: user.id, minorUnits: 5n })),
          clients[0]!.transactions.deposit(depositRequest(id, 5n, { requestId, systemAccount: "opening" })),
        ]);
        const refusals = settled.filter((one) => one.status === "rejected").map((one) => one.reason as CallError);
        expect(refusals).to.have.lengthOf(1);
        assertReused(refusals[0]!, requestId, "method");
      });
      expect([added.requests, added.transactions, added.entries]).to.deep.equal([1n, 1n, 2n]);
    }
    const { faults } = await clients[0]!.ledger.checkIntegrity({ maxFaults: 0 });
    expect(faults).to.deep.equal([]);
  });

  it("names its transaction by its request id, also when it opened a wallet", async () => {
    const request = walletRequest({ userId: (await makeUser(clients[0]!)).id, minorUnits: 7n });
    const { wallet: opened } = await clients[0]!.wallets.createWallet(request);
    const found = await clients[0]!.transactions.getTransaction({
      by: { $case: "requestId", value: request.requestId },
    });
    expect(found.transaction!.debitAccountId).to.equal(systemAccountId("USD", "opening"));
    expect(found.transaction!.creditAccountId).to.equal(opened!.id);
    expect(await balanceOf(clients[0]!, opened!.id)).to.equal(7n);
  });
});

function assertReused(error: CallError, requestId: string, fields: string): void {
  expect([error.code, error.reason]).to.deep.equal(["ALREADY_EXISTS", "REQUEST_ID_REUSED"]);
  expect(error.info).to.deep.equal({ request_id: requestId, differs: fields });
}

function assertSameRefusal(error: CallError, first: CallError): void {
  expect([error.code, error.reason, error.message]).to.deep.equal([first.code, first.reason, first.message]);
  expect(error.info).to.deep.equal({ ...first.info, replayed: "true" });
}
