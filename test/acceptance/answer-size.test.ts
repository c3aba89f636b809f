import { randomUUID } from "node:crypto";
import { fromBinary, fromJson, toBinary, toJson, type DescMethod, type JsonObject } from "@bufbuild/protobuf";
import { reflect, type ReflectList } from "@bufbuild/protobuf/reflect";
import { Client, credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import type pg from "pg";
import { BatchTransferResponse, BatchTransferResult } from "../../generated/grey/transaction/v1/batch.js";
import { decodeErrorInfo } from "../support/client.js";
import { registry } from "../support/corpus.js";
import { openAdmin } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

const KIB = 1_024;
/** What a list ends its pages at, and so what one of enough items comes close to. */
const PAGE_LEAST = 2_800 * KIB;

/** Characters of 4 bytes: as much as fits into a field of so many characters. */
const text = (length: number): string => "😀".repeat(length);
const METADATA = Object.fromEntries(
  Array.from({ length: 32 }, (_, index) => [`k${index}-`.padEnd(64, "x"), text(512)] as const),
);
const METADATA_BYTES = 67_000;
/** The longest code of a currency, and the highest amount of it. */
const CODE = "LONGESTCODE1";
const MOST = 2n ** 63n - 1n;
/** Of its 18 decimal places. */
const UNIT = 10n ** 18n;

/** What requests may speak of: the largest of each. */
interface World {
  readonly userId: string;
  readonly largeUserId: string;
  readonly walletId: string;
  readonly otherWalletId: string;
  readonly spareWalletId: string;
  readonly emptyWalletId: string;
  readonly wallets: readonly string[];
  readonly euroWalletId: string;
  readonly legs: readonly JsonObject[];
  readonly compoundId: string;
  readonly compoundIndex: string;
  readonly holdId: string;
  readonly otherHoldId: string;
  readonly scheduleId: string;
  readonly otherScheduleId: string;
  readonly alertId: string;
  readonly otherAlertId: string;
  readonly batch: readonly JsonObject[];
  readonly refusedBatch: readonly JsonObject[];
}

/** How an RPC is asked for its largest answer. */
interface Largest {
  readonly ask: (world: World) => JsonObject;
  /** The bytes that the largest of its messages takes at least: that it was provoked indeed. */
  readonly atLeast: number;
  /** The list that is read page by page to its end, and how many items it has at least in all. */
  readonly list?: { readonly field: string; readonly items: number };
  /** Of a stream that does not end by itself: how many messages are read. */
  readonly messages?: number;
  /** What is made for this RPC alone, and what takes it away. */
  readonly sql?: { readonly before: string; readonly after: string };
}

const list = (field: string, items: number, ask: Largest["ask"], atLeast = PAGE_LEAST): Largest => ({
  ask: (world) => ({ page_size: 1_000, ...ask(world) }),
  atLeast,
  list: { field, items },
});
const one = (ask: Largest["ask"], atLeast = METADATA_BYTES): Largest => ({ ask, atLeast });

const USERS = 60;
const WALLETS = 60;
const SCHEDULES = 60;
const CHANGES = 40;
const TRANSACTIONS = 60;
/** More than a page of those that are small. */
const SMALL = 1_200;

/** Every RPC of the contract. One that is missing here fails. */
const LARGEST: Readonly<Record<string, Largest>> = {
  "grey.user.v1.UserService/CreateUser": one(() => user()),
  "grey.user.v1.UserService/GetUser": one(({ largeUserId }) => ({ id: largeUserId })),
  "grey.user.v1.UserService/ListUsers": list("users", USERS, () => ({})),
  "grey.user.v1.UserService/UpdateUser": one(({ userId }) => ({
    user_id: userId,
    ...user(),
    update_mask: "name,email,metadata",
  })),
  // Nothing is left of a user's data.
  "grey.user.v1.UserService/DeleteUser": one(({ largeUserId }) => ({ user_id: largeUserId }), 10),
  "grey.wallet.v1.WalletService/CreateWallet": one(({ userId }) => ({
    user_id: userId,
    currency_code: CODE,
    label: text(200),
    metadata: METADATA,
    initial_balance: money(1n),
  })),
  "grey.wallet.v1.WalletService/GetWallet": one(({ wallets }) => ({ id: wallets[0]! })),
  "grey.wallet.v1.WalletService/BatchGetWallets": {
    ask: ({ wallets }) => ({ ids: [...wallets] }),
    atLeast: PAGE_LEAST,
    list: { field: "wallets", items: WALLETS },
  },
  "grey.wallet.v1.WalletService/ListWallets": list("wallets", WALLETS, ({ userId }) => ({ user_id: userId })),
  "grey.wallet.v1.WalletService/UpdateWallet": one(({ spareWalletId }) => ({
    wallet_id: spareWalletId,
    label: text(200),
    metadata: METADATA,
    update_mask: "label,metadata",
  })),
  "grey.wallet.v1.WalletService/FreezeWallet": one(({ spareWalletId }) => ({
    wallet_id: spareWalletId,
    reason: text(500),
  })),
  "grey.wallet.v1.WalletService/UnfreezeWallet": one(({ spareWalletId }) => ({
    wallet_id: spareWalletId,
    reason: text(500),
  })),
  "grey.wallet.v1.WalletService/CloseWallet": one(({ emptyWalletId }) => ({
    wallet_id: emptyWalletId,
    reason: text(500),
  })),
  "grey.wallet.v1.WalletService/ReopenWallet": one(({ emptyWalletId }) => ({
    wallet_id: emptyWalletId,
    reason: text(500),
  })),
  "grey.wallet.v1.WalletService/GetBalance": one(({ walletId }) => ({ wallet_id: walletId }), 100),
  "grey.wallet.v1.WalletService/GetStatement": list(
    "lines",
    SMALL,
    ({ walletId }) => ({ wallet_id: walletId, ...PERIOD }),
    2_000 * KIB,
  ),
  "grey.wallet.v1.WalletService/StreamStatement": one(
    ({ walletId }) => ({ wallet_id: walletId, ...PERIOD }),
    1_000 * KIB,
  ),
  "grey.wallet.v1.WalletService/WatchWallet": {
    ask: ({ walletId }) => ({ wallet_id: walletId }),
    atLeast: 100,
    messages: 1,
  },
  "grey.transaction.v1.TransactionService/Deposit": one(({ walletId }) => ({ wallet_id: walletId, ...movement() })),
  "grey.transaction.v1.TransactionService/Withdraw": one(({ walletId }) => ({ wallet_id: walletId, ...movement() })),
  "grey.transaction.v1.TransactionService/Transfer": one((world) => transfer(world)),
  "grey.transaction.v1.TransactionService/BatchTransfer": {
    ask: ({ batch }) => ({ mode: "BATCH_MODE_INDEPENDENT", transfers: [...batch] }),
    atLeast: 2_000 * KIB,
  },
  "grey.transaction.v1.TransactionService/StreamTransfers": one((world) => ({
    correlation: MOST.toString(),
    transfer: transfer(world),
  })),
  "grey.transaction.v1.TransactionService/Hold": one(({ walletId, otherWalletId }) => ({
    wallet_id: walletId,
    to_wallet_id: otherWalletId,
    expires_in: "3600s",
    ...movement(),
  })),
  "grey.transaction.v1.TransactionService/IncreaseHold": one(({ holdId }) => ({ hold_id: holdId, ...movement() })),
  "grey.transaction.v1.TransactionService/ExtendHold": one(({ holdId }) => ({
    hold_id: holdId,
    expires_in: "864000s",
    ...described(),
  })),
  "grey.transaction.v1.TransactionService/CaptureHold": one(({ holdId }) => ({
    hold_id: holdId,
    to_system_account: "fees",
    ...movement(),
  })),
  "grey.transaction.v1.TransactionService/ReleaseHold": one(({ otherHoldId }) => ({
    hold_id: otherHoldId,
    ...described(),
  })),
  "grey.transaction.v1.TransactionService/GetHold": one(({ holdId }) => ({ id: holdId }), 150),
  "grey.transaction.v1.TransactionService/ListHolds": list(
    "holds",
    SMALL,
    ({ walletId }) => ({ wallet_id: walletId }),
    150 * KIB,
  ),
  "grey.transaction.v1.TransactionService/Reverse": one(
    ({ compoundId }) => ({ transaction_id: compoundId, ...described() }),
    250 * KIB,
  ),
  "grey.transaction.v1.TransactionService/PostTransaction": one(
    ({ legs }) => ({ legs: [...legs], ...described() }),
    250 * KIB,
  ),
  "grey.transaction.v1.TransactionService/Exchange": one(({ walletId, euroWalletId }) => ({
    from_wallet_id: walletId,
    to_wallet_id: euroWalletId,
    source_amount: money(UNIT),
    rate: `1.${"0".repeat(34)}1`,
    ...described(),
  })),
  "grey.transaction.v1.TransactionService/GetQuote": one(
    () => ({ source_currency_code: CODE, target_currency_code: "EUR", source_minor_units: MOST.toString() }),
    200,
  ),
  "grey.transaction.v1.TransactionService/GetTransaction": one(({ compoundId }) => ({ id: compoundId }), 150 * KIB),
  "grey.transaction.v1.TransactionService/ListTransactions": list("transactions", TRANSACTIONS, () => ({
    metadata_filters: [{ key: Object.keys(METADATA)[0]! }],
  })),
  "grey.transaction.v1.TransactionService/SetTransactionMetadata": one(
    ({ compoundId }) => ({ transaction_id: compoundId, set: METADATA }),
    150 * KIB,
  ),
  "grey.transaction.v1.TransactionService/ListMetadataChanges": list("changes", CHANGES, ({ compoundId }) => ({
    transaction_id: compoundId,
  })),
  "grey.transaction.v1.TransactionService/WatchTransactions": {
    ask: ({ compoundIndex }) => ({ from_journal_index: compoundIndex }),
    atLeast: 250 * KIB,
    // How far it is comes first.
    messages: 2,
  },
  "grey.ledger.v1.LedgerService/NameAccounts": one(({ wallets }) => ({ account_ids: [...wallets] }), 5_000),
  "grey.ledger.v1.LedgerService/FindIds": one(() => ({ prefix: "0", kind: "ID_KIND_WALLET" }), 300),
  "grey.ledger.v1.LedgerService/ListCurrencies": list("currencies", SMALL, () => ({}), 350 * KIB),
  "grey.ledger.v1.LedgerService/CreateCurrency": one(() => ({ code: newCode(), exponent: 18, name: text(100) }), 400),
  "grey.ledger.v1.LedgerService/CreateAccount": one(
    () => ({
      system_account: { name: "a".repeat(32), currency_code: CODE },
      normal_side: "NORMAL_SIDE_CREDIT",
      min_balance: (-MOST).toString(),
      max_balance: MOST.toString(),
    }),
    150,
  ),
  "grey.ledger.v1.LedgerService/SetLimits": one(
    ({ spareWalletId }) => ({ wallet_id: spareWalletId, limits: limits(), reason: text(500) }),
    400,
  ),
  "grey.ledger.v1.LedgerService/GetLimits": one(({ spareWalletId }) => ({ wallet_id: spareWalletId }), 600),
  "grey.ledger.v1.LedgerService/SetDefaultLimits": one(
    () => ({ currency_code: "CHF", limits: limits(), reason: text(500) }),
    400,
  ),
  "grey.ledger.v1.LedgerService/GetDefaultLimits": one(() => ({ currency_code: "CHF" }), 400),
  "grey.ledger.v1.LedgerService/ListLimitChanges": list(
    "changes",
    SMALL,
    ({ spareWalletId }) => ({ wallet_id: spareWalletId }),
    2_000 * KIB,
  ),
  "grey.ledger.v1.LedgerService/SetRate": one(
    () => ({ source_currency_code: CODE, target_currency_code: "EUR", rate: `1.${"0".repeat(34)}1` }),
    100,
  ),
  "grey.ledger.v1.LedgerService/GetRate": one(() => ({ source_currency_code: CODE, target_currency_code: "EUR" }), 100),
  "grey.ledger.v1.LedgerService/ListRates": list(
    "rates",
    SMALL,
    () => ({ source_currency_code: CODE, target_currency_code: "EUR" }),
    120 * KIB,
  ),
  "grey.ledger.v1.LedgerService/GetAccount": one(({ walletId }) => ({ id: walletId }), 70),
  "grey.ledger.v1.LedgerService/ListAccounts": list("accounts", SMALL, () => ({ currency_code: CODE }), 70 * KIB),
  "grey.ledger.v1.LedgerService/GetTrialBalance": {
    ask: () => ({}),
    atLeast: PAGE_LEAST,
    list: { field: "currencies", items: 8 },
    sql: {
      before: `WITH account AS (
          INSERT INTO accounts (id, system_account, currency_code, normal_side)
          SELECT gen_random_uuid(), 'trial' || lpad(n::text, 27, '0'), 'QQQQQQQ' || lpad(c::text, 5, '0'), 1
          FROM generate_series(1, 8) AS c, generate_series(1, 10100) AS n RETURNING id
        )
        INSERT INTO entries (account_id, sequence, transaction_id, journal_index, amount, balance_after, create_time)
        SELECT id, 1, id, 0, ${MOST}, ${MOST}, now() FROM account`,
      after: `WITH account AS (DELETE FROM accounts WHERE system_account LIKE 'trial%' RETURNING id)
        DELETE FROM entries USING account WHERE account_id = account.id`,
    },
  },
  "grey.ledger.v1.LedgerService/CheckIntegrity": faulty(),
  "grey.ledger.v1.LedgerService/StreamIntegrityCheck": faulty(),
  "grey.schedule.v1.ScheduleService/CreateSchedule": one(({ walletId }) => schedule(walletId)),
  "grey.schedule.v1.ScheduleService/GetSchedule": one(({ scheduleId }) => ({ id: scheduleId })),
  "grey.schedule.v1.ScheduleService/ListSchedules": list("schedules", SCHEDULES, () => ({})),
  "grey.schedule.v1.ScheduleService/PauseSchedule": one(({ otherScheduleId }) => ({ schedule_id: otherScheduleId })),
  "grey.schedule.v1.ScheduleService/ResumeSchedule": one(({ otherScheduleId }) => ({ schedule_id: otherScheduleId })),
  "grey.schedule.v1.ScheduleService/CancelSchedule": one(({ otherScheduleId }) => ({ schedule_id: otherScheduleId })),
  "grey.schedule.v1.ScheduleService/ListRuns": list(
    "runs",
    SMALL,
    ({ scheduleId }) => ({ schedule_id: scheduleId }),
    100 * KIB,
  ),
  "grey.alert.v1.AlertService/CreateAlert": one(
    ({ otherWalletId }) => ({ wallet_id: otherWalletId, ...threshold() }),
    100,
  ),
  "grey.alert.v1.AlertService/GetAlert": one(({ alertId }) => ({ id: alertId }), 100),
  // A wallet has 100 at the most.
  "grey.alert.v1.AlertService/ListAlerts": list("alerts", 90, ({ walletId }) => ({ wallet_id: walletId }), 10 * KIB),
  "grey.alert.v1.AlertService/DeleteAlert": one(({ otherAlertId }) => ({ alert_id: otherAlertId }), 100),
  "grey.alert.v1.AlertService/ListAlertEvents": list(
    "events",
    SMALL,
    ({ alertId }) => ({ alert_id: alertId }),
    150 * KIB,
  ),
  "grpc.health.v1.Health/Check": one(() => ({ service: "grey.wallet.v1.WalletService" }), 2),
  "grpc.health.v1.Health/List": one(() => ({}), 100),
  "grpc.health.v1.Health/Watch": {
    ask: () => ({ service: "grey.wallet.v1.WalletService" }),
    atLeast: 2,
    messages: 1,
  },
  "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": one(() => largestReflection(), 400 * KIB),
  "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": one(() => largestReflection(), 400 * KIB),
};

/** A check that finds the faults with the most to tell. */
function faulty(): Largest {
  const before = `INSERT INTO transaction_metadata (key, value, journal_index, transaction_id)
    SELECT repeat('k', 64), repeat('😀', 512), 1000000 + n, gen_random_uuid() FROM generate_series(1, 3000) AS n`;
  const after = "DELETE FROM transaction_metadata WHERE journal_index > 1000000";
  return { ...one(() => ({ max_faults: 10_000 }), 2_500 * KIB), sql: { before, after } };
}

const PERIOD = { from: "2020-01-01T00:00:00Z", before: "2200-01-01T00:00:00Z" };

const METHODS: readonly DescMethod[] = [...registry].flatMap((desc) => (desc.kind === "service" ? desc.methods : []));
const keyOf = (method: DescMethod): string => `${method.parent.typeName}/${method.name}`;

describe("the largest answer of every RPC reaches a client that takes 4 MiB, as clients do", function () {
  this.timeout(240_000);
  let server: TestServer;
  let client: Client;
  let admin: pg.Client;
  let world: World;

  before(async () => {
    server = await startServer({
      GREY_SCHEDULE_EVERY_MS: "3600000",
      GREY_ALERT_EVERY_MS: "3600000",
      GREY_HOLD_EXPIRY_EVERY_MS: "3600000",
    });
    client = new Client(server.address, credentials.createInsecure());
    admin = await openAdmin(server.databaseUrl);
    world = await createWorld(client, admin);
  });
  after(async () => {
    client.close();
    await admin.end();
    await server.stop();
  });

  it("of every RPC that there is", () => {
    expect(Object.keys(LARGEST)).to.have.members(METHODS.map(keyOf));
  });

  for (const method of METHODS) {
    const largest = LARGEST[keyOf(method)];
    if (largest === undefined) continue;
    it(keyOf(method), async () => {
      const asked = { ...requestIdOf(method), ...largest.ask(world) };
      if (largest.sql !== undefined) await admin.query(largest.sql.before);
      try {
        const { sizes, items } =
          largest.list === undefined
            ? { sizes: (await ask(client, method, asked, largest.messages)).map((bytes) => bytes.length), items: [] }
            : await readList(method, asked, largest.list.field);
        expect(Math.max(...sizes)).to.be.at.least(largest.atLeast);
        expect(items.length).to.be.at.least(largest.list?.items ?? 0);
        expect(new Set(items)).to.have.lengthOf(items.length);
      } finally {
        if (largest.sql !== undefined) await admin.query(largest.sql.after);
      }
    });
  }

  describe("of a batch of 10,000", () => {
    const method = METHODS.find((one) => one.name === "BatchTransfer")!;
    const batch = (transfers: readonly JsonObject[], over: JsonObject = {}) =>
      ask(client, method, { mode: "BATCH_MODE_INDEPENDENT", ...over, transfers: [...transfers] });

    it("whose items are refused, when it is tried out, made and replayed", async () => {
      const answers = [];
      for (const over of [{ dry_run: true }, {}, {}]) {
        const [bytes] = await batch(world.refusedBatch, over);
        answers.push(BatchTransferResponse.decode(bytes!));
      }
      for (const { results } of answers) {
        expect(results).to.have.lengthOf(10_000);
        for (const { error } of results) expect(decodeErrorInfo(error!.details)!.reason).to.equal("VELOCITY_EXCEEDED");
      }
      expect(answers.map(({ results }) => results.filter((one) => one.replayed).length)).to.deep.equal([0, 0, 10_000]);
    });

    it("whose errors are told with all that they have, when it has 4,000", async () => {
      const [bytes] = await batch(world.refusedBatch.slice(0, 4_000));
      const { results } = BatchTransferResponse.decode(bytes!);
      const infos = results.map(({ error }) => Object.keys(decodeErrorInfo(error!.details)!.metadata).length);
      expect(Math.min(...infos)).to.be.above(8);
      // It is within the kilobyte for which 4,000 always fit.
      const sizes = results.map((result) => BatchTransferResult.encode(result).finish().length);
      expect(Math.max(...sizes)).to.be.within(500, KIB - 6);
    });

    it("that is given up as a whole", async () => {
      const [bytes] = await batch(world.refusedBatch, { mode: "BATCH_MODE_ATOMIC" });
      expect(BatchTransferResponse.decode(bytes!).results).to.have.lengthOf(10_000);
    });
  });

  it("of reflection, whatever name it is asked for", async () => {
    for (const { name, parent } of METHODS.filter((one) => one.name === "ServerReflectionInfo")) {
      const method = parent.methods.find((one) => one.name === name)!;
      const long = { host: "h".repeat(2_000 * KIB), file_containing_symbol: "s".repeat(2_000 * KIB) };
      const [bytes] = await ask(client, method, long);
      expect(JSON.stringify(toJson(method.output, fromBinary(method.output, bytes!)))).to.include("errorResponse");
    }
  });

  /** All items of a list as bytes, and the bytes of each page. */
  async function readList(method: DescMethod, asked: JsonObject, field: string) {
    const sizes: number[] = [];
    const items: string[] = [];
    let next: JsonObject | undefined = {};
    while (next !== undefined) {
      const [bytes] = await ask(client, method, { ...asked, ...next });
      const page = reflect(method.output, fromBinary(method.output, bytes!));
      const listed = page.get(method.output.fields.find((one) => one.name === field)!) as unknown as ReflectList;
      sizes.push(bytes!.length);
      for (const item of listed) items.push(Buffer.from(bytesOf(item)).toString("base64"));
      next = nextOf(method, page);
    }
    return { sizes, items };
  }
});

/** What the next page is asked for with; undefined after the last. */
function nextOf(method: DescMethod, page: ReturnType<typeof reflect>): JsonObject | undefined {
  const token = method.output.fields.find((one) => one.name === "next_page_token");
  if (token !== undefined) {
    const value = page.get(token) as string;
    return value === "" ? undefined : { page_token: value };
  }
  const unread = [...(page.get(method.output.fields.find((one) => one.name === "unread_ids")!) as ReflectList)];
  return unread.length === 0 ? undefined : { ids: unread as string[] };
}

function bytesOf(item: unknown): Uint8Array {
  const { desc, message } = item as ReturnType<typeof reflect>;
  return toBinary(desc, message);
}

/** The messages that answer the request; of a stream without an end, the first ones. */
function ask(client: Client, method: DescMethod, request: JsonObject, messages?: number): Promise<Buffer[]> {
  const bytes = Buffer.from(toBinary(method.input, fromJson(method.input, request)));
  const same = (one: Buffer): Buffer => one;
  const path = `/${keyOf(method)}`;
  const options = { deadline: Date.now() + 120_000 };
  return new Promise((resolve, reject) => {
    if (method.methodKind === "unary") {
      client.makeUnaryRequest(path, same, same, bytes, new Metadata(), options, (error: ServiceError | null, value) => {
        if (error === null) resolve([value!]);
        else reject(error);
      });
      return;
    }
    const answers: Buffer[] = [];
    const bidi =
      method.methodKind === "server_streaming"
        ? undefined
        : client.makeBidiStreamRequest(path, same, same, new Metadata(), options);
    const call = bidi ?? client.makeServerStreamRequest(path, same, same, bytes, new Metadata(), options);
    call.on("data", (answer: Buffer) => {
      answers.push(answer);
      if (answers.length !== messages) return;
      call.cancel();
      resolve(answers);
    });
    call.on("error", reject);
    call.on("status", ({ code }) => {
      if (code === status.OK) resolve(answers);
    });
    bidi?.end(bytes);
  });
}

function requestIdOf(method: DescMethod): JsonObject {
  const field = method.input.fields.find(({ name }) => name === "request_id");
  return field === undefined || field.oneof !== undefined ? {} : { request_id: randomUUID() };
}

function money(minorUnits: bigint): JsonObject {
  return { currency_code: CODE, minor_units: minorUnits.toString() };
}

function newCode(): string {
  return `Z${randomUUID().replaceAll("-", "").toUpperCase().slice(0, 11)}`;
}

function described(): JsonObject {
  return { description: text(500), metadata: METADATA, external_reference: text(128) };
}

function movement(): JsonObject {
  return { amount: money(1_000n), ...described() };
}

function transfer({ walletId, otherWalletId }: World): JsonObject {
  return { request_id: randomUUID(), from_wallet_id: walletId, to_wallet_id: otherWalletId, ...movement() };
}

function user(): JsonObject {
  const email = `${randomUUID()}@${"e".repeat(60)}.${"f".repeat(60)}.${"g".repeat(60)}.com`;
  return { name: text(200), email, metadata: METADATA };
}

function schedule(walletId: string): JsonObject {
  return {
    deposit: { wallet_id: walletId, amount: money(MOST), description: text(500), metadata: METADATA },
    recurring: {
      cron: `${Array.from({ length: 50 }, (_, minute) => minute).join(",")} 0 1 1 *`,
      time_zone: "America/Argentina/ComodRivadavia",
    },
  };
}

/** As many as there can be; the first leaves less room than any transfer of the batch needs. */
function limits(): JsonObject {
  return {
    min_balance: (-MOST).toString(),
    max_balance: MOST.toString(),
    velocity: Array.from({ length: 8 }, (_, index) => ({
      name: `${"v".repeat(31)}${index}`,
      direction: "VELOCITY_DIRECTION_OUTGOING",
      kinds: ["DEPOSIT", "WITHDRAWAL", "TRANSFER", "HOLD", "HOLD_CAPTURE", "COMPOUND", "EXCHANGE"].map(
        (kind) => `TRANSACTION_KIND_${kind}`,
      ),
      window_seconds: "31622400",
      max_amount: (MOST - 1n).toString(),
      max_count: MOST.toString(),
    })),
  };
}

function threshold(): JsonObject {
  return {
    threshold: money(MOST),
    direction: "ALERT_DIRECTION_BOTH",
    balance: "ALERT_BALANCE_AVAILABLE",
  };
}

/** The file that most others are needed for. */
function largestReflection(): JsonObject {
  return { file_by_filename: "grey/transaction/v1/transaction_service.proto" };
}

/** As many accounts as a batch touches, and the legs of a transaction. */
const ACCOUNTS = 21_002;

async function createWorld(client: Client, admin: pg.Client): Promise<World> {
  const make = async (name: string, request: JsonObject): Promise<JsonObject> => {
    const method = METHODS.find((one) => one.name === name)!;
    const [bytes] = await ask(client, method, { ...requestIdOf(method), ...request });
    return toJson(method.output, fromBinary(method.output, bytes!)) as JsonObject;
  };
  const idOf = (reply: JsonObject, field: string): string => (reply[field] as JsonObject).id as string;
  const times = async <T>(count: number, each: () => Promise<T>): Promise<T[]> => {
    const made: T[] = [];
    for (let index = 0; index < count; index += 1) made.push(await each());
    return made;
  };
  /** Adds as many rows as the list of small things needs, each like the one with this id but for what is given. */
  const clone = (table: string, id: string, over: string): Promise<unknown> =>
    admin.query(
      `INSERT INTO ${table} SELECT (jsonb_populate_record(t, jsonb_build_object(${over}))).*
       FROM ${table} t, generate_series(1, ${SMALL}) AS n WHERE t.id = $1`,
      [id],
    );

  await make("CreateCurrency", { code: CODE, exponent: 18, name: text(100) });
  const users = await times(USERS, async () => idOf(await make("CreateUser", user()), "user"));
  const [userId, largeUserId, ownerId] = users as [string, string, string];
  const wallet = async (owner: string, code = CODE) =>
    idOf(
      await make("CreateWallet", { user_id: owner, currency_code: code, label: text(200), metadata: METADATA }),
      "wallet",
    );
  const wallets = await times(WALLETS, () => wallet(userId));
  const [walletId, otherWalletId, spareWalletId, emptyWalletId] = (await times(4, () => wallet(ownerId))) as [
    string,
    string,
    string,
    string,
  ];
  const euroWalletId = await wallet(ownerId, "EUR");
  await admin.query("UPDATE wallets SET state_reason = $1", [text(500)]);
  // Wallets without a least balance, as far as the ledger is concerned.
  const { rows } = await admin.query<{ id: string }>(
    `INSERT INTO accounts (id, currency_code, normal_side, state, min_balance, max_balance)
     SELECT gen_random_uuid(), $1, 2, 1, NULL, NULL FROM generate_series(1, ${ACCOUNTS}) RETURNING id`,
    [CODE],
  );
  const ids = rows.map(({ id }) => id);

  await make("Deposit", { wallet_id: walletId, amount: money(2n * UNIT) });
  await make("Deposit", { wallet_id: otherWalletId, amount: money(UNIT / 10n) });
  await times(TRANSACTIONS, () => make("Deposit", { wallet_id: walletId, ...movement() }));
  for (const _ of [1, 2]) {
    const transfers = Array.from({ length: SMALL / 2 }, () => ({
      request_id: randomUUID(),
      from_wallet_id: otherWalletId,
      to_wallet_id: walletId,
      amount: money(1n),
      description: text(500),
    }));
    await make("BatchTransfer", { mode: "BATCH_MODE_ATOMIC", transfers });
  }

  const legs = ids.slice(20_000, 21_000).map((id, index) => ({
    wallet_id: id,
    side: index % 2 === 0 ? "ENTRY_SIDE_DEBIT" : "ENTRY_SIDE_CREDIT",
    amount: money(MOST / 1_000n),
  }));
  const compound = (await make("PostTransaction", { legs, ...described() })).transaction as JsonObject;
  const compoundId = compound.id as string;
  const remove = Array.from({ length: 32 }, (_, index) => `gone${index}-`.padEnd(64, "x"));
  await times(CHANGES, () => make("SetTransactionMetadata", { transaction_id: compoundId, set: METADATA, remove }));

  const hold = { wallet_id: walletId, to_wallet_id: otherWalletId, expires_in: "3600s" };
  const otherHoldId = idOf(await make("Hold", { ...hold, amount: money(1_000n) }), "hold");
  const holdId = idOf(await make("Hold", { ...hold, to_wallet_id: "", amount: money(1_000n) }), "hold");
  await clone("holds", otherHoldId, `'id', gen_random_uuid(), 'amount', ${MOST}`);

  await make("SetLimits", { wallet_id: spareWalletId, limits: limits(), reason: text(500) });
  const change = await admin.query<{ id: string }>("SELECT id FROM limit_changes");
  await clone("limit_changes", change.rows[0]!.id, "'id', gen_random_uuid()");
  const rate = { source_currency_code: CODE, target_currency_code: "EUR", rate: `1.${"0".repeat(34)}1` };
  await clone("rates", idOf(await make("SetRate", rate), "rate"), "'id', gen_random_uuid()");
  await admin.query(
    `INSERT INTO currencies (code, exponent, name, custom)
     SELECT 'QQQQQQQ' || lpad(n::text, 5, '0'), 18, repeat('😀', 100), true FROM generate_series(1, ${SMALL}) AS n`,
  );

  const schedules = await times(SCHEDULES, async () =>
    idOf(await make("CreateSchedule", schedule(walletId)), "schedule"),
  );
  const [scheduleId, otherScheduleId] = schedules as [string, string];
  await admin.query(
    `INSERT INTO schedule_runs
       (id, schedule_id, planned_time, state, attempts, request_id, transaction_id, failure, create_time, update_time)
     SELECT gen_random_uuid(), $1, now() + n * interval '1 second', 3, 100, gen_random_uuid(), gen_random_uuid(),
       '{"reason":"WALLET_FROZEN"}', now(), now() FROM generate_series(1, ${SMALL}) AS n`,
    [scheduleId],
  );
  const alerts = await times(95, async () =>
    idOf(await make("CreateAlert", { wallet_id: walletId, ...threshold() }), "alert"),
  );
  const [alertId, otherAlertId] = alerts as [string, string];
  await admin.query(
    `INSERT INTO balance_alert_events (id, alert_id, sequence, transaction_id, journal_index, direction, balance_before,
       balance_after, create_time)
     SELECT gen_random_uuid(), $1, ${MOST} - n, gen_random_uuid(), ${MOST}, 1, -${MOST}, ${MOST}, now()
     FROM generate_series(1, ${SMALL}) AS n`,
    [alertId],
  );

  // Half of what may go out is used.
  await make("Deposit", { wallet_id: spareWalletId, amount: money(6n * UNIT) });
  const paid = { from_wallet_id: spareWalletId, to_wallet_id: ids[21_000]!, amount: money(5n * UNIT) };
  await make("Transfer", paid);
  const refused = { ...paid, to_wallet_id: ids[21_001]! };
  return {
    userId,
    largeUserId,
    walletId,
    otherWalletId,
    spareWalletId,
    emptyWalletId,
    wallets,
    euroWalletId,
    legs,
    compoundId,
    compoundIndex: compound.journalIndex as string,
    holdId,
    otherHoldId,
    scheduleId,
    otherScheduleId,
    alertId,
    otherAlertId,
    batch: Array.from({ length: 10_000 }, (_, index) => ({
      request_id: randomUUID(),
      from_wallet_id: ids[2 * index]!,
      to_wallet_id: ids[2 * index + 1]!,
      amount: money(MOST),
    })),
    refusedBatch: Array.from({ length: 10_000 }, () => ({ request_id: randomUUID(), ...refused })),
  };
}
