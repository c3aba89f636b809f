import { randomUUID } from "node:crypto";
import { connect as connectHttp2 } from "node:http2";
import { expect } from "chai";
import pg from "pg";
import { CreateUserRequest } from "../../generated/grey/user/v1/user_service.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { eventually } from "../support/process.js";
import { connectRaw, frame, postBare, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";

const LIST_USERS = "/grey.user.v1.UserService/ListUsers";
const CREATE_USER = "/grey.user.v1.UserService/CreateUser";

const REQUEST_BYTES_MAX = 2_048;
const METADATA_BYTES_MAX = 4_096;
const STREAMS_MAX = 4;
const IN_FLIGHT_MAX = 6;
const RETRY_AFTER_MS = 250;

describe("a limit", () => {
  let server: TestServer;
  let grey: Clients;
  let raw: RawClient;
  let admin: pg.Client;

  before(async () => {
    server = await startServer({
      GREY_REQUEST_BYTES_MAX: `${REQUEST_BYTES_MAX}`,
      GREY_METADATA_BYTES_MAX: `${METADATA_BYTES_MAX}`,
      GREY_CONNECTION_STREAMS_MAX: `${STREAMS_MAX}`,
      GREY_CALLS_IN_FLIGHT_MAX: `${IN_FLIGHT_MAX}`,
      GREY_RETRY_AFTER_MS: `${RETRY_AFTER_MS}`,
    });
    grey = connect(server.address);
    raw = connectRaw(server.address);
    admin = new pg.Client(server.databaseUrl);
    await admin.connect();
  });
  after(async () => {
    raw.close();
    grey.close();
    await admin.end();
    await server.stop();
  });
  afterEach("others are served", async () => {
    const other = connect(server.address);
    await other.users.listUsers({ pageSize: 1, pageToken: "" });
    other.close();
  });

  it("GREY_REQUEST_BYTES_MAX: a message of that size is answered, one byte more is RESOURCE_EXHAUSTED and writes nothing", async () => {
    const request = user();
    // An unknown field fills the rest.
    const plain = CreateUserRequest.encode(request).finish();
    const room = REQUEST_BYTES_MAX - plain.length - 4;
    const padding = Buffer.concat([Buffer.from([0xfa, 0x07, 0x80 | (room & 0x7f), room >> 7]), Buffer.alloc(room)]);
    const fitting = Buffer.concat([plain, padding]);
    expect(fitting.length).to.equal(REQUEST_BYTES_MAX);
    const tooLong = await raw.call(CREATE_USER, Buffer.concat([fitting, Buffer.from([0])]));
    expect(tooLong.error?.code).to.equal("RESOURCE_EXHAUSTED");
    const { rowCount } = await admin.query("SELECT 1 FROM requests WHERE request_id = $1", [request.requestId]);
    expect(rowCount).to.equal(0);
    expect((await raw.call(CREATE_USER, fitting)).error).to.equal(undefined);
  });

  it("GREY_METADATA_BYTES_MAX: headers below it are taken, more are INVALID_REQUEST, by a stream too", async () => {
    const list = (bytes: number) =>
      raw.call(LIST_USERS, Buffer.alloc(0), { headers: { "x-filler": "a".repeat(bytes) } });
    expect((await list(METADATA_BYTES_MAX - 1_024)).error).to.equal(undefined);
    const headers = { "x-filler": "a".repeat(METADATA_BYTES_MAX) };
    const stream = "/grey.transaction.v1.TransactionService/StreamTransfers";
    for (const { error } of [await list(METADATA_BYTES_MAX), await raw.stream(stream, Buffer.alloc(0), { headers })]) {
      expect(error).to.include({ code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" });
      expect([...error!.violations.values()]).to.deep.equal([
        `headers must take no more than ${METADATA_BYTES_MAX} bytes`,
      ]);
    }
  });

  it("headers of a megabyte, in one or in thousands, end at most their own connection", async () => {
    const long = await postBare(server.address, LIST_USERS, frame(Buffer.alloc(0)), {
      "x-filler": "a".repeat(1_000_000),
    });
    expect(long?.["grpc-status"]).not.to.equal("0");
    const many = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, index) => [`x-filler-${index}`, "a".repeat(200)]),
    );
    const ending = await postBare(server.address, LIST_USERS, frame(Buffer.alloc(0)), many);
    expect(ending?.["grpc-status"]).not.to.equal("0");
  });

  it("GREY_CONNECTION_STREAMS_MAX: more calls on one connection wait for the others, another connection does not", async () => {
    const unlock = await lockUsers();
    const held = Array.from({ length: STREAMS_MAX }, () => raw.call(CREATE_USER, encoded(user())));
    await eventually("the calls to wait", async () => (await waiting()) === STREAMS_MAX);
    const behind = await raw.call("/grey.ledger.v1.LedgerService/ListCurrencies", Buffer.alloc(0), { timeoutMs: 500 });
    expect(behind.error?.code).to.equal("DEADLINE_EXCEEDED");
    const other = await postBare(
      server.address,
      "/grey.ledger.v1.LedgerService/ListCurrencies",
      frame(Buffer.alloc(0)),
    );
    expect(other?.["grpc-status"]).to.equal("0");
    await unlock();
    for (const { error } of await Promise.all(held)) expect(error).to.equal(undefined);
  });

  it("GREY_CALLS_IN_FLIGHT_MAX: more are OVERLOADED with RetryInfo at once and write nothing; later they are answered", async () => {
    const unlock = await lockUsers();
    const half = IN_FLIGHT_MAX / 2;
    const clients = Array.from({ length: 2 }, (_, index) => separate(server.address, index));
    const held = clients.flatMap((client) =>
      Array.from({ length: half }, () => client.call(CREATE_USER, encoded(user()))),
    );
    await eventually("the calls to wait", async () => (await waiting()) === IN_FLIGHT_MAX);
    const third = separate(server.address, 3);
    const request = user();
    const { error } = await third.call(CREATE_USER, encoded(request), { timeoutMs: 5_000 });
    expect(error).to.include({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED", retryAfterMs: RETRY_AFTER_MS });
    await unlock();
    for (const answer of await Promise.all(held)) expect(answer.error).to.equal(undefined);
    const { rowCount } = await admin.query("SELECT 1 FROM requests WHERE request_id = $1", [request.requestId]);
    expect(rowCount).to.equal(0);
    expect((await third.call(CREATE_USER, encoded(request))).error).to.equal(undefined);
    for (const client of [...clients, third]) client.close();
  });

  it("thousands of streams that are opened and broken off at once leave the server serving", async () => {
    const session = connectHttp2(`http://${server.address}`);
    session.on("error", () => undefined);
    for (let round = 0; round < 50 && !session.destroyed; round += 1) {
      for (let count = 0; count < 100 && !session.destroyed; count += 1) {
        const stream = session.request({ ":method": "POST", ":path": LIST_USERS, "content-type": "application/grpc" });
        stream.on("error", () => undefined);
        stream.close(8);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await grey.users.listUsers({ pageSize: 1, pageToken: "" });
    session.destroy();
  });

  it("calls that never send their message take nothing from others", async () => {
    const session = connectHttp2(`http://${server.address}`);
    for (let count = 0; count < STREAMS_MAX; count += 1) {
      const stream = session.request({ ":method": "POST", ":path": LIST_USERS, "content-type": "application/grpc" });
      stream.on("error", () => undefined);
      stream.write(frame(Buffer.alloc(100)).subarray(0, 20));
    }
    for (let count = 0; count < 2 * IN_FLIGHT_MAX; count += 1) {
      await grey.users.listUsers({ pageSize: 1, pageToken: "" });
    }
    session.destroy();
  });

  it("of 1,000 items in a batch is told before its items are looked at", async () => {
    const other = await startServer();
    const client = connect(other.address);
    const started = Date.now();
    // 2 MB of ids, each of which breaks a rule.
    const error = await refusal(client.wallets.batchGetWallets({ ids: Array.from({ length: 500_000 }, () => "no") }));
    expect([...error.violations]).to.deep.equal([["ids", "must hold no more than 1000"]]);
    expect(Date.now() - started).to.be.below(3_000);
    client.close();
    await other.stop();
  });

  /** Keeps every call that touches users waiting until the returned function is called. */
  async function lockUsers(): Promise<() => Promise<void>> {
    const session = new pg.Client(server.databaseUrl);
    await session.connect();
    await session.query("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE");
    return async () => {
      await session.query("ROLLBACK");
      await session.end();
    };
  }

  async function waiting(): Promise<number> {
    const { rowCount } = await admin.query(
      `SELECT 1 FROM pg_stat_activity
       WHERE datname = current_database() AND application_name LIKE 'grey%' AND wait_event_type = 'Lock'`,
    );
    return rowCount ?? 0;
  }
});

/** A client with a connection of its own. */
function separate(address: string, number: number): RawClient {
  return connectRaw(address, { "grpc.primary_user_agent": `test-${number}` });
}

function encoded(request: CreateUserRequest): Uint8Array {
  return CreateUserRequest.encode(request).finish();
}

function user() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
