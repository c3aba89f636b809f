import { connect as connectHttp2, constants, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import { ListTransactionsRequest, ListTransactionsResponse } from "../../generated/grey/transaction/v1/query.js";
import { StreamTransfersRequest, type StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import type { WatchTransactionsResponse } from "../../generated/grey/transaction/v1/watch.js";
import { HealthCheckRequest } from "../../generated/grpc/health/v1/health.js";
import { newId } from "../../src/base/ids.js";
import type { Methods } from "../../src/rpc/methods.js";
import { eventually } from "../support/process.js";
import { connectRaw, frame } from "../support/raw-call.js";
import { startStubServer, type StubServer } from "../support/stub-server.js";

const LIST = "/grey.transaction.v1.TransactionService/ListTransactions";
const WATCH = "/grey.transaction.v1.TransactionService/WatchTransactions";
const STREAM = "/grey.transaction.v1.TransactionService/StreamTransfers";
const HEALTH = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH = "/grpc.health.v1.Health/Watch";

const MIB = 1_048_576;
const CONNECTION_MAX = 8 * MIB;
const ALL_MAX = 16 * MIB;
const ANSWER = { transactions: [], nextPageToken: "t".repeat(MIB) } satisfies ListTransactionsResponse;

describe("answers that their clients do not take", () => {
  let server: StubServer;
  let answered = 0;
  const sessions: ClientHttp2Session[] = [];

  const methods: Partial<Methods<typeof TransactionServiceService>> = {
    listTransactions: async () => {
      answered += 1;
      return ANSWER;
    },
    watchTransactions: {
      stream: async function* () {
        for (;;) {
          const message: WatchTransactionsResponse = { journalIndex: 1n, transaction: undefined, balances: [] };
          answered += 1;
          yield message;
        }
      },
    },
    streamTransfers: {
      readRequestId: () => newId(),
      answer: async ({ correlation }) => ({ correlation, outcome: undefined }) satisfies StreamTransfersResponse,
      refuse: ({ correlation }, value) => ({ correlation, outcome: { $case: "error", value } }),
    },
  };

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    answered = 0;
    server = await startStubServer(TransactionServiceService, methods, {
      GREY_CONNECTION_OUTGOING_BYTES_MAX: `${CONNECTION_MAX}`,
      GREY_OUTGOING_BYTES_MAX: `${ALL_MAX}`,
      ...settings,
    });
  }
  afterEach(async () => {
    for (const session of sessions.splice(0)) session.destroy();
    await server.stop();
  });

  /** A connection whose calls take nothing until they are given a window. */
  async function open(): Promise<ClientHttp2Session> {
    const session = connectHttp2(`http://${server.address}`, { settings: { initialWindowSize: 0 } });
    session.on("error", () => undefined);
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    sessions.push(session);
    return session;
  }

  function ask(session: ClientHttp2Session, path = LIST, message: Uint8Array = LISTED): ClientHttp2Stream {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => undefined);
    stream.write(frame(message));
    if (path !== STREAM) stream.end();
    return stream;
  }

  const resetOf = (stream: ClientHttp2Stream): number | undefined => (stream.closed ? stream.rstCode : undefined);

  /** A client that reads gets an answer. */
  async function assertServes(): Promise<void> {
    const raw = connectRaw(server.address, { "grpc.primary_user_agent": "reader" });
    const { error } = await raw.call(LIST, LISTED, { timeoutMs: 20_000 });
    raw.close();
    expect(error).to.equal(undefined);
  }

  it("are bounded for a connection: its oldest calls are reset, in memory too, and others get their answers", async () => {
    const CALLS = 300;
    await start();
    const session = await open();
    await assertServes();
    const before = buffersHeld();
    const streams = Array.from({ length: CALLS }, () => ask(session));
    await eventually("all calls to be worked on", () => answered === CALLS + 1);
    await eventually("the resets", () => streams.filter(({ closed }) => closed).length >= CALLS - 8);
    expect(server.outgoingBytes()).to.be.within(1, CONNECTION_MAX);
    const codes = new Set(streams.map(resetOf));
    expect([...codes]).to.have.members([undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM]);
    // The last ones are still to be had.
    expect(streams.slice(-4).map(resetOf)).to.deep.equal([undefined, undefined, undefined, undefined]);
    // Without a bound, more than CALLS MiB.
    await eventually("the memory to be given back", () => buffersHeld() - before < 5 * CONNECTION_MAX);
    await assertServes();
    session.destroy();
    await eventually("nothing to be held", () => server.outgoingBytes() === 0);
  });

  it("are bounded in total: the connection with most of them loses calls, and one with few keeps its own", async () => {
    await start();
    const small = await open();
    const kept = ask(small);
    await eventually("the first answer", () => server.outgoingBytes() > MIB);
    for (let count = 1; count <= 6; count += 1) {
      const session = await open();
      for (let call = 0; call < 7; call += 1) ask(session);
      await eventually("all calls to be worked on", () => answered === 1 + 7 * count);
      expect(server.outgoingBytes()).to.be.at.most(ALL_MAX);
    }
    await assertServes();
    expect(resetOf(kept)).to.equal(undefined);
  });

  it("reach a client that begins to take them", async () => {
    await start();
    const session = await open();
    const stream = ask(session);
    await eventually("the answer", () => server.outgoingBytes() > MIB);
    const received = new Promise<Buffer>((resolve) => {
      const parts: Buffer[] = [];
      stream.on("data", (part: Buffer) => parts.push(part));
      stream.on("end", () => resolve(Buffer.concat(parts)));
    });
    const trailers = new Promise<unknown>((resolve) => {
      stream.once("trailers", (headers) => resolve(headers["grpc-status"]));
    });
    session.settings({ initialWindowSize: 65_535 });
    const bytes = await received;
    expect(ListTransactionsResponse.decode(bytes.subarray(5))).to.deep.equal(ANSWER);
    expect(await trailers).to.equal("0");
    await eventually("nothing to be held", () => server.outgoingBytes() === 0);
  });

  for (const [path, message] of [
    [LIST, Buffer.alloc(0)],
    [HEALTH, HealthCheckRequest.encode({ service: "" }).finish()],
    [HEALTH_WATCH, HealthCheckRequest.encode({ service: "" }).finish()],
    [WATCH, Buffer.alloc(0)],
    [STREAM, StreamTransfersRequest.encode({ correlation: 1n, transfer: undefined }).finish()],
  ] as const) {
    it(`of ${path} end their call after GREY_WATCH_STALL_MS`, async () => {
      await start({ GREY_WATCH_STALL_MS: "200" });
      const stream = ask(await open(), path, path === LIST ? LISTED : message);
      await eventually("the reset", () => stream.closed);
      expect(stream.rstCode).to.equal(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      expect(server.outgoingBytes()).to.equal(0);
    });
  }

  it("of a server stream pause it: it produces no more messages than may be on their way", async () => {
    await start();
    ask(await open(), WATCH, Buffer.alloc(0));
    await eventually("a stall", async () => {
      const before = answered;
      for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      return before > 0 && before === answered;
    });
    expect(server.outgoingBytes()).to.be.below(MIB);
  });
});

/** Memory of buffers after everything that is not held was given back. */
function buffersHeld(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().arrayBuffers;
}

const LISTED = ListTransactionsRequest.encode({
  ...ListTransactionsRequest.fromPartial({}),
  of: { $case: "walletId", value: newId() },
}).finish();
