import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import type pg from "pg";
import { ErrorInfo, RetryInfo } from "../../generated/google/rpc/error_details.js";
import { BatchMode, type StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import type { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { TransactionState } from "../../generated/grey/transaction/v1/transaction.js";
import type { Uuid } from "../../src/base/ids.js";
import { connect, refusal, type CallError, type Clients } from "../support/client.js";
import { lockLedger, waitsForLock, WAIT_MS_MAX, type RowLock } from "../support/engine.js";
import { balanceOf, makeUser, makeWallet, openAdmin, transferRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

const QUEUE_MAX = 8;
/** Two batches under way, of at most what waited, and what waits. */
const TAKEN_MAX = 3 * QUEUE_MAX;

describe("a server with more to post than the database can write", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;
  let a: Uuid;
  let b: Uuid;
  let lock: RowLock | undefined;

  before(async () => {
    server = await startServer({
      GREY_POSTING_QUEUE_MAX: `${QUEUE_MAX}`,
      GREY_RETRY_AFTER_MS: "250",
      // The lock is held for as long as the test needs.
      GREY_DATABASE_STATEMENT_TIMEOUT_MS: "60000",
      GREY_CALL_TIMEOUT_MS: "60000",
    });
    grey = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
    const userId = (await makeUser(grey)).id;
    a = (await makeWallet(grey, { userId, minorUnits: 10_000n })).id;
    b = (await makeWallet(grey, { userId })).id;
  });
  afterEach(() => release());
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 0 });
    grey.close();
    await admin.end();
    await server.stop();
    expect(faults).to.deep.equal([]);
  });

  const one = (): TransferRequest => transferRequest(a, b, 1n);
  const ask = (request: TransferRequest) => grey.transactions.transfer(request, {}, 60_000);

  /** Which of the requests the books know of. */
  async function recorded(requests: readonly TransferRequest[]): Promise<Set<string>> {
    const { rows } = await admin.query<{ request_id: string }>(
      "SELECT request_id FROM requests WHERE request_id = ANY($1)",
      [requests.map((request) => request.requestId)],
    );
    return new Set(rows.map((row) => row.request_id));
  }

  async function release(): Promise<void> {
    await lock?.release();
    lock = undefined;
  }

  interface Load {
    readonly requests: readonly TransferRequest[];
    /** Those that were refused so far, and with what. */
    readonly refused: ReadonlyMap<TransferRequest, CallError>;
    /** Resolves when all are answered. */
    readonly done: Promise<unknown>;
  }

  /** Locks a wallet and asks for transfers from it until the queue is full; returns while the lock is held. */
  async function fill(): Promise<Load> {
    lock = await lockLedger(server.databaseUrl);
    const requests: TransferRequest[] = [];
    const refused = new Map<TransferRequest, CallError>();
    const calls: Promise<unknown>[] = [];
    const send = (count: number): void => {
      for (let n = 0; n < count; n += 1) {
        const request = one();
        requests.push(request);
        calls.push(ask(request).catch((error: unknown) => refused.set(request, error as CallError)));
      }
    };
    send(1);
    await waitsForLock(admin, "grey-posting");
    send(TAKEN_MAX);
    await eventually("a refusal", () => refused.size > 0, WAIT_MS_MAX);
    // Two batches are under way now, so what comes next only fills the queue.
    send(TAKEN_MAX);
    await eventually("the last one's refusal", () => refused.has(requests.at(-1)!), WAIT_MS_MAX);
    return { requests, refused, done: Promise.all(calls) };
  }

  function assertOverloaded(error: CallError): void {
    expect([error.code, error.reason]).to.deep.equal(["RESOURCE_EXHAUSTED", "OVERLOADED"]);
    // Those who are refused are to come back one by one, and not before this.
    expect(error.retryAfterMs).to.be.within(250, 20_000);
  }

  it("refuses at once what exceeds its queue, posts none of it, and answers everything that it accepted", async () => {
    const balance = await balanceOf(grey, b);
    const { requests, refused, done } = await fill();
    // Nothing moves, and still each of these is answered.
    for (let n = 0; n < 5; n += 1) assertOverloaded(await refusal(ask(one())));
    await release();

    await done;
    for (const error of refused.values()) assertOverloaded(error);
    const posted = requests.filter((request) => !refused.has(request));
    expect(posted.length).to.be.within(QUEUE_MAX, TAKEN_MAX);
    expect(await recorded(requests)).to.deep.equal(new Set(posted.map((request) => request.requestId)));
    expect(await balanceOf(grey, b)).to.equal(balance + BigInt(posted.length));

    // Asked again when there is room, each is posted.
    for (const request of refused.keys()) expect((await ask(request)).replayed).to.equal(false);
    expect(await balanceOf(grey, b)).to.equal(balance + BigInt(requests.length));
  });

  it("refuses a batch as a whole, and continues to serve reads", async () => {
    const { done } = await fill();
    const transfers = [one(), one()];
    assertOverloaded(await refusal(grey.transactions.batchTransfer({ mode: BatchMode.ATOMIC, transfers })));
    expect(await balanceOf(grey, a)).to.be.a("bigint");
    await release();
    await done;
    expect(await recorded(transfers)).to.deep.equal(new Set());
    const { results } = await grey.transactions.batchTransfer({ mode: BatchMode.ATOMIC, transfers });
    expect(results.map((result) => result.replayed)).to.deep.equal([false, false]);
  });

  it("accepts a batch that is larger than its queue when nothing waits, as a whole, and refuses it behind others", async () => {
    const transfers = Array.from({ length: 3 * QUEUE_MAX }, one);
    const { done } = await fill();
    assertOverloaded(await refusal(grey.transactions.batchTransfer({ mode: BatchMode.ATOMIC, transfers })));
    await release();
    await done;
    expect(await recorded(transfers)).to.deep.equal(new Set());
    const { results } = await grey.transactions.batchTransfer({ mode: BatchMode.ATOMIC, transfers });
    expect(results.map(({ state }) => state)).to.deep.equal(transfers.map(() => TransactionState.POSTED));
  });

  it("refuses each transfer of a stream that exceeds its queue, and the stream continues", async () => {
    const { done } = await fill();
    const client = new TransactionServiceClient(server.address, credentials.createInsecure());
    const stream = client.streamTransfers();
    const results: StreamTransfersResponse[] = [];
    stream.on("data", (result: StreamTransfersResponse) => results.push(result));
    const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
    const transfers = Array.from({ length: 20 }, one);
    for (const [index, transfer] of transfers.entries()) stream.write({ correlation: BigInt(index), transfer });
    await eventually("a result for each", () => results.length === transfers.length, WAIT_MS_MAX);
    for (const { outcome } of results) {
      if (outcome?.$case !== "error") throw new Error("it was posted");
      const find = (type: string) => outcome.value.details.find(({ typeUrl }) => typeUrl.endsWith(type))!.value;
      expect(ErrorInfo.decode(find("ErrorInfo")).reason).to.equal("OVERLOADED");
      const { seconds, nanos } = RetryInfo.decode(find("RetryInfo")).retryDelay!;
      expect(Number(seconds) * 1_000 + nanos / 1e6).to.be.within(250, 20_000);
    }
    await release();
    await done;
    expect(await recorded(transfers)).to.deep.equal(new Set());

    stream.write({ correlation: 99n, transfer: transfers[0]! });
    await eventually("one more result", () => results.length === transfers.length + 1, WAIT_MS_MAX);
    expect(results.at(-1)).to.deep.include({ correlation: 99n });
    expect(results.at(-1)!.outcome?.$case).to.equal("posted");
    stream.end();
    await ended;
    client.close();
  });

  it("drops calls whose deadline passes while they wait: they are not posted, and no other call is delayed", async () => {
    lock = await lockLedger(server.databaseUrl);
    const first = ask(one());
    await waitsForLock(admin, "grey-posting");
    const second = ask(one());
    const impatient = Array.from({ length: 4 }, one);
    const errors = await Promise.all(impatient.map((request) => refusal(grey.transactions.transfer(request, {}, 300))));
    for (const error of errors) expect(error.code).to.equal("DEADLINE_EXCEEDED");
    const last = ask(one());
    await release();
    for (const { transaction } of await Promise.all([first, second, last]))
      expect(transaction!.entries).to.have.length(2);
    // One of them may have been under way before its deadline came, with the second batch.
    expect((await recorded(impatient)).size).to.be.lessThan(impatient.length);
  });
});
