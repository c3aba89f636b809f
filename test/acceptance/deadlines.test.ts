import { randomUUID } from "node:crypto";
import { expect } from "chai";
import pg from "pg";
import { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { eventually, createRoute, type Route } from "../support/process.js";
import { connectRaw, frame, postBare, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";

const TRANSFER = "/grey.transaction.v1.TransactionService/Transfer";
const POOL_SIZE = 3;
const CALL_TIMEOUT_MS = 1_000;

describe("a deadline", () => {
  let database: TestDatabase;
  let way: Route;
  let server: TestServer;
  let grey: Clients;
  let raw: RawClient;
  let admin: pg.Client;
  let userId: string;
  let walletId: string;
  let otherWalletId: string;

  before(async () => {
    database = await createTestDatabase();
    way = await createRoute(database.url);
    await way.open();
    server = await startServer({
      DATABASE_URL: way.url,
      GREY_DATABASE_POOL_SIZE: `${POOL_SIZE}`,
      GREY_DATABASE_CONNECT_TIMEOUT_MS: "30000",
      GREY_CALL_TIMEOUT_MS: `${CALL_TIMEOUT_MS}`,
    });
    grey = connect(server.address);
    raw = connectRaw(server.address);
    admin = new pg.Client(database.url);
    await admin.connect();
    userId = (await grey.users.createUser(user())).user!.id;
    walletId = await createWallet();
    otherWalletId = await createWallet();
    // The posting engine remembers both from now on.
    await grey.transactions.transfer(transfer());
  });
  after(async () => {
    raw.close();
    grey.close();
    await admin.end();
    await server.stop();
    await way.cut();
    await database.drop();
  });

  it("that has passed when the call arrives: the call is not answered with a posting", async () => {
    const request = transfer();
    const ending = await postBare(server.address, TRANSFER, frame(encoded(request)), { "grpc-timeout": "1n" });
    // CANCELLED or DEADLINE_EXCEEDED, by who noticed first.
    expect(["1", "4", undefined]).to.include(ending?.["grpc-status"]);
    await grey.transactions.transfer(transfer());
    expect(await isKnown(request.requestId)).to.equal(false);
  });

  it("that passes, or a caller who leaves, while the movement waits to be posted: it is not posted", async () => {
    const balance = await balanceOf(otherWalletId);
    const first = [transfer(), transfer()];
    const late = [transfer(), transfer(), transfer()];
    const left = [transfer(), transfer(), transfer()];
    const answers: Promise<unknown>[] = [];
    await whileLocked("journal_head", async () => {
      for (const request of first) {
        answers.push(raw.call(TRANSFER, encoded(request), { timeoutMs: 20_000 }));
        // A call that is answered after it has arrived: the movement is on its way to the database.
        await grey.users.listUsers({ pageSize: 1, pageToken: "" });
      }
      await eventually("a wait for the lock", async () => (await waiting()) >= 1);
      const leaving = new AbortController();
      const gone = [
        ...late.map((request) => raw.call(TRANSFER, encoded(request), { timeoutMs: 300 })),
        ...left.map((request) => raw.call(TRANSFER, encoded(request), { signal: leaving.signal })),
      ];
      await grey.users.listUsers({ pageSize: 1, pageToken: "" });
      leaving.abort();
      const codes = (await Promise.all(gone)).map(({ error }) => error?.code);
      expect(codes).to.deep.equal([...late.map(() => "DEADLINE_EXCEEDED"), ...left.map(() => "CANCELLED")]);
    });
    await Promise.all(answers);
    // It comes after them in the queue.
    await grey.transactions.transfer(transfer());
    for (const { requestId } of first) expect(await isKnown(requestId)).to.equal(true);
    for (const { requestId } of [...late, ...left]) expect(await isKnown(requestId)).to.equal(false);
    expect(await balanceOf(otherWalletId)).to.equal(balance + 3n);
  });

  it("that passes while the call waits for a connection: it writes nothing", async () => {
    const late = user();
    const answers: Promise<unknown>[] = [];
    await whileLocked("users", async () => {
      for (let count = 0; count < POOL_SIZE; count += 1) answers.push(grey.users.createUser(user()));
      await eventually("the whole pool to wait", async () => (await waiting()) === POOL_SIZE);
      expect((await refusal(grey.users.createUser(late, {}, 300))).code).to.equal("DEADLINE_EXCEEDED");
    });
    await Promise.all(answers);
    await grey.users.createUser(user());
    expect(await isKnown(late.requestId)).to.equal(false);
  });

  it("that passes while a read waits for a connection: no statement is sent", async () => {
    const reads: ((id: string, timeoutMs: number) => Promise<unknown>)[] = [
      (id, timeoutMs) => grey.wallets.getBalance({ walletId: id }, {}, timeoutMs),
      (id, timeoutMs) => grey.wallets.getWallet({ id }, {}, timeoutMs),
      (id, timeoutMs) => grey.wallets.batchGetWallets({ ids: [id] }, {}, timeoutMs),
      (id, timeoutMs) => grey.wallets.listWallets({ userId: id, pageSize: 0, pageToken: "" }, {}, timeoutMs),
      (id, timeoutMs) => grey.users.getUser({ by: { $case: "id", value: id } }, {}, timeoutMs),
      (id, timeoutMs) => grey.ledger.getAccount({ by: { $case: "id", value: id } }, {}, timeoutMs),
      (id, timeoutMs) =>
        grey.transactions.listTransactions({ ...LIST, of: { $case: "userId", value: id } }, {}, timeoutMs),
    ];
    const late = reads.map(() => randomUUID());
    const inTime = reads.map(() => randomUUID());
    const answers: Promise<unknown>[] = [];
    await whileLocked("users", async () => {
      for (let count = 0; count < POOL_SIZE; count += 1) answers.push(grey.users.createUser(user()));
      await eventually("the whole pool to wait", async () => (await waiting()) === POOL_SIZE);
      const errors = await Promise.all(reads.map((read, index) => refusal(read(late[index]!, 300))));
      expect(new Set(errors.map(({ code }) => code))).to.deep.equal(new Set(["DEADLINE_EXCEEDED"]));
    });
    await Promise.all(answers);
    // Behind them in the pool's queue.
    for (const [index, read] of reads.entries()) {
      expect((await refusal(read(inTime[index]!, 20_000))).code).to.equal("NOT_FOUND");
    }
    const asked = (ids: readonly string[]): boolean[] => ids.map((id) => way.hasCarried(id));
    expect(asked(inTime), "what was asked in time").to.deep.equal(reads.map(() => true));
    expect(asked(late), "what was asked too late").to.deep.equal(reads.map(() => false));
  });

  it("that the caller leaves out is GREY_CALL_TIMEOUT_MS: past it the call is OVERLOADED, writes nothing, and may be retried", async () => {
    const request = transfer();
    const answers: Promise<unknown>[] = [];
    let patient: ReturnType<RawClient["call"]> | undefined;
    await whileLocked("journal_head", async () => {
      for (let count = 0; count < 2; count += 1) {
        answers.push(raw.call(TRANSFER, encoded(transfer())));
        await grey.users.listUsers({ pageSize: 1, pageToken: "" });
      }
      await eventually("a wait for the lock", async () => (await waiting()) >= 1);
      patient = raw.call(TRANSFER, encoded(request));
      const started = Date.now();
      await eventually("the timeout", () => Date.now() > started + CALL_TIMEOUT_MS + 100);
    });
    await Promise.all(answers);
    const { error } = await patient!;
    expect(error).to.include({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED" });
    expect(error?.retryAfterMs).to.be.a("number");
    expect(await isKnown(request.requestId)).to.equal(false);
    expect((await raw.call(TRANSFER, encoded(request))).error).to.equal(undefined);
    expect(await isKnown(request.requestId)).to.equal(true);
  });

  /** Another session holds the table while the work is done. */
  async function whileLocked(table: string, work: () => Promise<void>): Promise<void> {
    const session = new pg.Client(database.url);
    await session.connect();
    try {
      await session.query(`BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
      await work();
      await session.query("ROLLBACK");
    } finally {
      await session.end();
    }
  }

  /** How many of the service's sessions wait for a lock. */
  async function waiting(): Promise<number> {
    const { rowCount } = await admin.query(
      `SELECT 1 FROM pg_stat_activity
       WHERE datname = current_database() AND application_name LIKE 'grey%' AND wait_event_type = 'Lock'`,
    );
    return rowCount ?? 0;
  }

  async function isKnown(requestId: string): Promise<boolean> {
    const { rowCount } = await admin.query("SELECT 1 FROM requests WHERE request_id = $1", [requestId]);
    return rowCount === 1;
  }

  async function createWallet(): Promise<string> {
    const initialBalance = { currencyCode: "USD", minorUnits: 1_000n };
    const { wallet } = await grey.wallets.createWallet({
      requestId: randomUUID(),
      userId,
      currencyCode: "USD",
      label: "",
      metadata: {},
      initialBalance,
    });
    return wallet!.id;
  }

  async function balanceOf(id: string): Promise<bigint> {
    return (await grey.wallets.getBalance({ walletId: id })).balance!.posted!.minorUnits;
  }

  function transfer() {
    return {
      requestId: randomUUID(),
      fromWalletId: walletId,
      toWalletId: otherWalletId,
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
});

const LIST = {
  pageSize: 0,
  pageToken: "",
  kinds: [],
  states: [],
  createTimeFrom: undefined,
  createTimeBefore: undefined,
};

function encoded(request: TransferRequest): Uint8Array {
  return TransferRequest.encode(request).finish();
}

function user() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
