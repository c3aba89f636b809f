import { Client, credentials, status, type ClientDuplexStream, type ServiceError } from "@grpc/grpc-js";
import { expect } from "chai";
import type pg from "pg";
import { ErrorInfo, RequestInfo } from "../../generated/google/rpc/error_details.js";
import type { Status } from "../../generated/google/rpc/status.js";
import { StreamTransfersRequest, StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import {
  TransactionServiceClient,
  TransactionServiceService,
} from "../../generated/grey/transaction/v1/transaction_service.js";
import type { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import type { Uuid } from "../../src/base/ids.js";
import { ACCOUNT_STATE } from "../../src/base/codes.js";
import { CallError, connect, type Clients } from "../support/client.js";
import { lockLedger, waitsForLock, WAIT_MS_MAX } from "../support/engine.js";
import { balanceOf, depositRequest, makeUser, makeWallet, openAdmin, transferRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

describe("StreamTransfers", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let client: TransactionServiceClient;
  let userId: Uuid;
  const opened: Stream[] = [];

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
    client = new TransactionServiceClient(server.address, credentials.createInsecure());
    admin = await openAdmin(server.databaseUrl);
    userId = (await makeUser(grey)).id;
  });
  afterEach(() => {
    for (const stream of opened.splice(0)) stream.cancel();
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 0 });
    client.close();
    grey.close();
    await admin.end();
    await server.stop();
    expect(faults).to.deep.equal([]);
  });

  function open(): Stream {
    const stream = openStream(client.streamTransfers());
    opened.push(stream);
    return stream;
  }

  /** Wallets of which the first holds the amount. */
  async function walletsOf(count: number, minorUnits: bigint): Promise<Uuid[]> {
    const ids: Uuid[] = [];
    for (let n = 0; n < count; n += 1) {
      ids.push((await makeWallet(grey, { userId, minorUnits: n === 0 ? minorUnits : 0n })).id);
    }
    return ids;
  }

  async function countOf(description: string): Promise<number> {
    const { rows } = await admin.query<{ count: bigint }>("SELECT count(*) FROM transactions WHERE description = $1", [
      description,
    ]);
    return Number(rows[0]!.count);
  }

  it("answers each transfer once, with the correlation that it came with", async () => {
    const [a, b] = (await walletsOf(2, 1_000n)) as [Uuid, Uuid];
    const stream = open();
    const requests = new Map<bigint, TransferRequest>();
    for (const correlation of [7n, -1n, 0n, 2n ** 63n - 1n, -(2n ** 63n), 8n, 9n]) {
      const transfer = transferRequest(a, b, BigInt(1 + requests.size));
      requests.set(correlation, transfer);
      stream.write({ correlation, transfer });
    }
    stream.end();
    expect(await stream.ended).to.equal("OK");
    expect(stream.results.map(({ correlation }) => correlation)).to.have.members([...requests.keys()]);
    for (const result of stream.results) {
      const { transaction, balances, replayed } = postedOf(result);
      const request = requests.get(result.correlation)!;
      expect(transaction).to.deep.include({ requestId: request.requestId, amount: request.amount });
      expect(balances.map(({ walletId }) => walletId)).to.deep.equal([a, b]);
      expect(replayed).to.equal(false);
    }
    expect(await balanceOf(grey, b)).to.equal(28n);
  });

  it("decides transfers in the order in which they are sent, also while their wallets change behind the server's back", async () => {
    const wallets = await walletsOf(13, 5n);
    const around = [...wallets, ...wallets, ...wallets, wallets[0]!];
    const stream = open();
    const requests = around.slice(1).map((to, index) => transferRequest(around[index]!, to, 5n));
    for (const [index, transfer] of requests.entries()) {
      stream.write({ correlation: BigInt(index), transfer });
      if (index % 5 === 0) {
        const sql = "UPDATE accounts SET state = $2 WHERE id = $1";
        await admin.query(sql, [wallets[index % wallets.length], ACCOUNT_STATE.OPEN]);
      }
    }
    stream.end();
    expect(await stream.ended).to.equal("OK");
    // Each needs the money of the one before it.
    const indexes = new Map(stream.results.map((one) => [one.correlation, postedOf(one).transaction!.journalIndex]));
    const inOrder = requests.map((_, index) => indexes.get(BigInt(index))!);
    expect(inOrder).to.deep.equal([...inOrder].sort((one, other) => Number(one - other)));
    expect(await balanceOf(grey, wallets[0]!)).to.equal(5n);
  });

  it("continues after a transfer that is refused, malformed, a copy, or under a used request id", async () => {
    const [a, b] = (await walletsOf(2, 100n)) as [Uuid, Uuid];
    const stream = open();
    const first = transferRequest(a, b, 10n);
    const refused = transferRequest(a, b, 1_000n);
    const malformed = transferRequest(a, b, 0n);
    const last = transferRequest(a, b, 20n);
    const sent = [
      first,
      refused,
      malformed,
      undefined,
      { ...first },
      { ...first, description: "another" },
      { ...refused },
      last,
    ];
    sent.forEach((transfer, index) => stream.write({ correlation: BigInt(index), transfer }));
    stream.end();
    expect(await stream.ended).to.equal("OK");
    const results = [...stream.results].sort((one, other) => Number(one.correlation - other.correlation));
    expect(results.map(stateOf)).to.deep.equal([
      "POSTED",
      "INSUFFICIENT_FUNDS",
      "INVALID_REQUEST",
      "INVALID_REQUEST",
      "POSTED",
      "REQUEST_ID_REUSED",
      "INSUFFICIENT_FUNDS",
      "POSTED",
    ]);
    expect(postedOf(results[4]!)).to.deep.equal({ ...postedOf(results[0]!), replayed: true });
    const [refusal, copy] = [errorOf(results[1]!), errorOf(results[6]!)];
    expect(refusal.status).to.include({ code: status.FAILED_PRECONDITION });
    expect(refusal.requestId).to.equal(refused.requestId);
    expect(copy.info).to.deep.equal({ ...refusal.info, replayed: "true" });
    expect(errorOf(results[2]!).status).to.include({ code: status.INVALID_ARGUMENT });
    expect(errorOf(results[5]!).info.differs).to.equal("description");
    expect(await balanceOf(grey, b)).to.equal(30n);
  });

  it("ends with INVALID_ARGUMENT at a message that cannot be decoded, after all before it are answered; none after it is posted", async () => {
    const BEFORE = 20;
    const [a, b] = (await walletsOf(2, 100n)) as [Uuid, Uuid];
    const same = (bytes: Buffer): Buffer => bytes;
    const raw = new Client(server.address, credentials.createInsecure());
    const call = raw.makeBidiStreamRequest(TransactionServiceService.streamTransfers.path, same, same);
    const results: StreamTransfersResponse[] = [];
    const ended = new Promise<CallError>((resolve) => {
      call.on("error", (error: ServiceError) => resolve(new CallError(error)));
    });
    call.on("data", (bytes: Buffer) => results.push(StreamTransfersResponse.decode(bytes)));
    const send = (): boolean => {
      const transfer = transferRequest(a, b, 1n);
      return call.write(Buffer.from(StreamTransfersRequest.encode({ correlation: 1n, transfer }).finish()));
    };
    for (let n = 0; n < BEFORE; n += 1) send();
    // A field of a length that the message does not have.
    call.write(Buffer.from([0x12, 0x7f, 0x01]));
    for (let n = 0; n < BEFORE; n += 1) send();
    const error = await ended;
    raw.close();
    expect([error.code, error.reason]).to.deep.equal(["INVALID_ARGUMENT", "INVALID_REQUEST"]);
    expect(results.map(stateOf)).to.deep.equal(Array.from({ length: BEFORE }, () => "POSTED"));
    expect(await balanceOf(grey, b)).to.equal(BigInt(BEFORE));
  });

  it("stops reading while its results are not taken, and continues when they are", async () => {
    const SENT = 4_000;
    // 1,024 under way, and the results that the transport holds.
    const POSTED_MAX = 2_000;
    const [a, b] = (await walletsOf(2, BigInt(SENT))) as [Uuid, Uuid];
    const stream = open();
    stream.pause();
    for (let n = 0; n < SENT; n += 1) {
      stream.write({ correlation: BigInt(n), transfer: transferRequest(a, b, 1n, { description: "slow reader" }) });
    }
    let stalledAt = 0;
    await eventually(
      "a stall",
      async () => {
        const before = await countOf("slow reader");
        // The server answers others, so it could post more of the stream too.
        for (let n = 0; n < 25; n += 1) await grey.transactions.deposit(depositRequest(a, 1n));
        stalledAt = await countOf("slow reader");
        return stalledAt > 0 && stalledAt === before;
      },
      WAIT_MS_MAX,
    );
    expect(stalledAt).to.be.lessThan(POSTED_MAX);

    stream.resume();
    stream.end();
    expect(await stream.ended).to.equal("OK");
    expect(stream.results.map(stateOf).filter((state) => state !== "POSTED")).to.deep.equal([]);
    expect(new Set(stream.results.map(({ correlation }) => correlation)).size).to.equal(SENT);
    expect(await balanceOf(grey, b)).to.equal(BigInt(SENT));
  });

  it("that is cancelled leaves what was posted; sent again, each transfer is posted once", async () => {
    const [a, b] = (await walletsOf(2, 1_000n)) as [Uuid, Uuid];
    const requests = Array.from({ length: 300 }, () => transferRequest(a, b, 1n, { description: "cancelled" }));
    const stream = open();
    for (const [index, transfer] of requests.entries()) stream.write({ correlation: BigInt(index), transfer });
    await eventually("some results", () => stream.results.length >= 10, WAIT_MS_MAX);
    stream.cancel();
    expect(await stream.ended).to.equal("CANCELLED");
    const told = stream.results.map((result) => postedOf(result).transaction!.id);

    const again = open();
    for (const [index, transfer] of requests.entries()) again.write({ correlation: BigInt(index), transfer });
    again.end();
    expect(await again.ended).to.equal("OK");
    const replayed = again.results.map(postedOf).filter((one) => one.replayed);
    expect(replayed.map((one) => one.transaction!.id)).to.include.members(told);
    expect(again.results).to.have.length(requests.length);
    expect(await countOf("cancelled")).to.equal(requests.length);
    expect(await balanceOf(grey, b)).to.equal(BigInt(requests.length));
  });

  it("ends with SHUTTING_DOWN when the server stops, after the transfers in flight are answered", async () => {
    const stopping = await startServer({ DATABASE_URL: server.databaseUrl });
    const clientOfStopping = new TransactionServiceClient(stopping.address, credentials.createInsecure());
    const [a, b] = (await walletsOf(2, 100n)) as [Uuid, Uuid];
    const stream = openStream(clientOfStopping.streamTransfers());
    stream.write({ correlation: 1n, transfer: transferRequest(a, b, 1n) });
    await eventually("a result", () => stream.results.length === 1, WAIT_MS_MAX);
    const lock = await lockLedger(server.databaseUrl);
    stream.write({ correlation: 2n, transfer: transferRequest(a, b, 2n) });
    await waitsForLock(admin, "grey-posting");
    const stopped = stopping.stop();
    await lock.release();
    const ending = await stream.ended;
    await stopped;
    clientOfStopping.close();
    expect(ending).to.include({ code: "UNAVAILABLE", reason: "SHUTTING_DOWN" });
    expect(stream.results.map((result) => [result.correlation, stateOf(result)])).to.deep.equal([
      [1n, "POSTED"],
      [2n, "POSTED"],
    ]);
    expect(await balanceOf(grey, b)).to.equal(3n);
  });
});

interface Stream {
  readonly results: readonly StreamTransfersResponse[];
  /** OK, CANCELLED, or the error that it ended with. */
  readonly ended: Promise<"OK" | "CANCELLED" | CallError>;
  write(request: StreamTransfersRequest): void;
  end(): void;
  cancel(): void;
  /** Takes no more results. */
  pause(): void;
  resume(): void;
}

function openStream(call: ClientDuplexStream<StreamTransfersRequest, StreamTransfersResponse>): Stream {
  const results: StreamTransfersResponse[] = [];
  call.on("data", (result: StreamTransfersResponse) => results.push(result));
  const ended = new Promise<"OK" | "CANCELLED" | CallError>((resolve) => {
    call.on("error", (error: ServiceError) =>
      resolve(error.code === status.CANCELLED ? "CANCELLED" : new CallError(error)),
    );
    call.on("end", () => resolve("OK"));
  });
  return {
    results,
    ended,
    write: (request) => call.write(request),
    end: () => call.end(),
    cancel: () => call.cancel(),
    pause: () => call.pause(),
    resume: () => call.resume(),
  };
}

function postedOf({ outcome }: StreamTransfersResponse) {
  if (outcome?.$case === "posted") return outcome.value;
  throw new Error(`it is not posted: ${JSON.stringify(outcome?.value)}`);
}

/** POSTED, or why it was refused. */
function stateOf(result: StreamTransfersResponse): string {
  return result.outcome?.$case === "posted" ? "POSTED" : errorOf(result).reason;
}

interface ResultError {
  readonly status: Status;
  readonly reason: string;
  readonly info: Readonly<Record<string, string>>;
  readonly requestId: string;
}

function errorOf({ outcome }: StreamTransfersResponse): ResultError {
  if (outcome?.$case !== "error") throw new Error("there is no error");
  const { details } = outcome.value;
  const find = (type: string) =>
    details.find((detail) => detail.typeUrl === `type.googleapis.com/google.rpc.${type}`)!.value;
  const { reason, metadata } = ErrorInfo.decode(find("ErrorInfo"));
  return {
    status: outcome.value,
    reason,
    info: metadata,
    requestId: RequestInfo.decode(find("RequestInfo")).requestId,
  };
}
