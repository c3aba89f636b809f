import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import type pg from "pg";
import {
  StreamStatementRequest,
  type StatementLine,
  type StreamStatementResponse,
} from "../../generated/grey/wallet/v1/statement.js";
import { WalletServiceClient } from "../../generated/grey/wallet/v1/wallet_service.js";
import { newId, systemAccountId } from "../../src/base/ids.js";
import { benchId, ID_SPACE } from "../bench/bench-ids.js";
import { CURRENCY } from "../bench/frames.js";
import { populate } from "../bench/populate.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { depositRequest, makeWallet, money, openAdmin } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";
import { follow } from "../support/watch.js";

/** The lines of the long wallet: its opening, and what it paid and got by turns. */
const LINES = 100_001;
const ALL = { from: { seconds: 0n, nanos: 0 }, before: { seconds: 253_402_300_799n, nanos: 0 } };

describe("a statement as a stream", function () {
  this.timeout(180_000);

  let database: TestDatabase;
  let server: TestServer;
  let grey: Clients;
  let wallets: WalletServiceClient;
  let admin: pg.Client;
  let walletId: string;

  before(async () => {
    database = await createTestDatabase();
    await populate(database.url, { wallets: 2, rounds: 0, deepTransfers: LINES - 1 });
    walletId = benchId(ID_SPACE.WALLET, 2);
    server = await startServer({ DATABASE_URL: database.url, GREY_WATCH_STALL_MS: "500", GREY_READ_WAIT_MS: "50" });
    grey = connect(server.address);
    wallets = new WalletServiceClient(server.address, credentials.createInsecure());
    admin = await openAdmin(database.url);
  });
  after(async () => {
    wallets.close();
    grey.close();
    await admin.end();
    await server.stop();
    await database.drop();
  });

  function open(over: Partial<StreamStatementRequest> = {}) {
    return wallets.streamStatement(StreamStatementRequest.fromPartial({ walletId, ...ALL, ...over }));
  }

  async function read(over: Partial<StreamStatementRequest> = {}): Promise<Whole> {
    const watch = await follow(open(over));
    expect(await watch.ended).to.equal(undefined);
    return wholeOf(watch.messages);
  }

  it("is whole and in order, adds up line by line, and is what GetStatement tells", async () => {
    const { opening, lines, closing } = await read();
    expect(lines).to.have.lengthOf(LINES);
    expect(opening).to.deep.include({ walletId, ...ALL, opening: money(0n, CURRENCY) });
    expect(closing.lineCount).to.equal(BigInt(LINES));
    let balance = 0n;
    for (const [index, line] of lines.entries()) {
      balance += line.amount!.minorUnits;
      if (line.balanceAfter!.minorUnits !== balance || line.accountSequence !== BigInt(index + 1))
        expect.fail(`line ${index} does not follow`);
    }
    expect(closing.closing).to.deep.equal(money(balance, CURRENCY));
    const page = await grey.wallets.getStatement({ walletId, ...ALL, pageSize: 1_000, pageToken: "" });
    expect(lines.slice(0, 1_000)).to.deep.equal(page.lines);
    const { credits, debits } = closing;
    expect({ opening: opening.opening, credits, debits, closing: closing.closing }).to.deep.equal({
      opening: page.opening,
      credits: page.credits,
      debits: page.debits,
      closing: page.closing,
    });
  });

  it("of a part begins with the balance before it; one that was cut off goes on after any line", async () => {
    const { lines: all, closing: end } = await read();
    for (const after of [0, 1, 499, 500, 501, LINES - 1, LINES, LINES + 5]) {
      const { opening, lines, closing } = await read({ afterAccountSequence: BigInt(after) });
      expect(lines.length, `after ${after}`).to.equal(Math.max(LINES - after, 0));
      expect(lines[0]).to.deep.equal(all[after]);
      expect(opening.opening).to.deep.equal(
        after === 0 ? money(0n, CURRENCY) : all[Math.min(after, LINES) - 1]!.balanceAfter,
      );
      expect(closing.closing).to.deep.equal(end.closing);
      const sum = closing.credits!.minorUnits - closing.debits!.minorUnits;
      expect(opening.opening!.minorUnits + sum).to.equal(closing.closing!.minorUnits);
    }
    const period = { from: all[10_000]!.createTime!, before: all[20_000]!.createTime! };
    const part = await read(period);
    const page = await grey.wallets.getStatement({ walletId, ...period, pageSize: 1_000, pageToken: "" });
    expect(part.lines.length).to.be.within(5_000, 15_000);
    expect(part.lines.slice(0, 1_000)).to.deep.equal(page.lines);
    expect([part.opening.opening, part.closing.closing]).to.deep.equal([page.opening, page.closing]);
  });

  it("goes at its client's pace, holds nothing of the database meanwhile, and does not change by what is posted", async () => {
    const { closing: before } = await read();
    const patient = await startServer({ DATABASE_URL: database.url });
    const slow = new WalletServiceClient(patient.address, credentials.createInsecure());
    const stream = slow.streamStatement(StreamStatementRequest.fromPartial({ walletId, ...ALL }));
    const messages: StreamStatementResponse[] = [];
    stream.on("data", (message: StreamStatementResponse) => {
      messages.push(message);
      if (messages.length === 2) stream.pause();
    });
    const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
    await eventually("two messages", () => messages.length === 2);
    const readsOf = async (): Promise<bigint> =>
      (
        await admin.query<{ reads: bigint }>(
          "SELECT count(*) AS reads FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() AND datname = current_database()",
        )
      ).rows[0]!.reads;
    await eventually("the server reads no further", async () => (await readsOf()) === 0n);
    expect(patient.logs.some(({ method }) => String(method).endsWith("/StreamStatement"))).to.equal(false);
    const client = connect(patient.address);
    for (let n = 0; n < 20; n += 1)
      await client.transactions.deposit(depositRequest(walletId, 1n, { amount: money(1n, CURRENCY) }));
    stream.resume();
    await ended;
    const { lines, closing } = wholeOf(messages);
    expect(lines).to.have.lengthOf(LINES);
    expect(closing).to.deep.equal(before);
    const now = await read();
    expect(now.lines).to.have.lengthOf(LINES + 20);
    expect(now.closing.closing!.minorUnits - closing.closing!.minorUnits).to.equal(20n);
    client.close();
    slow.close();
    await patient.stop();
  });

  it("is ended when its client takes nothing for GREY_WATCH_STALL_MS, and left when it goes", async () => {
    const stream = open();
    const stalled = await follow(stream);
    stream.pause();
    const lineOf = (reason: string) =>
      server.logs.find((line) => String(line.method).endsWith("/StreamStatement") && line.reason === reason);
    await eventually("it is ended", () => lineOf("WATCHER_TOO_SLOW") !== undefined);
    stream.resume();
    expect(await stalled.ended).to.include({ code: "RESOURCE_EXHAUSTED", reason: "WATCHER_TOO_SLOW" });
    expect(lineOf("WATCHER_TOO_SLOW")!.messages).to.be.lessThan(LINES / 500);
    // What has come is good, and whoever goes on after it has the whole.
    const begun = stalled.messages.flatMap(({ part }) => (part?.$case === "lines" ? part.value.lines : []));
    const rest = await read({ afterAccountSequence: begun.at(-1)?.accountSequence ?? 0n });
    expect([...begun, ...rest.lines]).to.deep.equal((await read()).lines);
    const left = open();
    const watch = await follow(left);
    left.pause();
    watch.cancel();
    await eventually("it is left", () => lineOf("CALLER_GONE") !== undefined);
    expect(lineOf("CALLER_GONE")!.messages).to.be.lessThan(LINES / 500);
  });

  it("tells the fault when a line was changed, instead of an end", async () => {
    await admin.query(
      "UPDATE entries SET balance_after = balance_after + 1 WHERE account_id = $1 AND sequence = 70000",
      [walletId],
    );
    const watch = await follow(open());
    expect(await watch.ended).to.include({ code: "INTERNAL", reason: "INTERNAL" });
    expect(watch.messages.some(({ part }) => part?.$case === "closing")).to.equal(false);
    await admin.query(
      "UPDATE entries SET balance_after = balance_after - 1 WHERE account_id = $1 AND sequence = 70000",
      [walletId],
    );
  });

  it("of nothing has no lines; one of no wallet, and one that ends before it begins, are refused", async () => {
    const { id } = await makeWallet(grey);
    const watch = await follow(open({ walletId: id }));
    expect(await watch.ended).to.equal(undefined);
    expect(watch.messages.map(({ part }) => part!.$case)).to.deep.equal(["opening", "closing"]);
    for (const [over, expected] of [
      [{ walletId: newId() }, { code: "NOT_FOUND", reason: "WALLET_NOT_FOUND" }],
      [{ walletId: systemAccountId(CURRENCY, "cash") }, { code: "NOT_FOUND", reason: "WALLET_NOT_FOUND" }],
      [
        { from: ALL.before, before: ALL.from },
        { code: "INVALID_ARGUMENT", reason: "INVALID_REQUEST" },
      ],
      [{ minJournalIndex: 10_000_000n }, { code: "UNAVAILABLE", reason: "JOURNAL_BEHIND" }],
    ] as const) {
      expect(await refusal(follow(open(over)))).to.include(expected);
    }
  });
});

interface Whole {
  readonly opening: Extract<StreamStatementResponse["part"], { $case: "opening" }>["value"];
  readonly lines: readonly StatementLine[];
  readonly closing: Extract<StreamStatementResponse["part"], { $case: "closing" }>["value"];
}

/** The statement of its messages, which must come in their order. */
function wholeOf(messages: readonly StreamStatementResponse[]): Whole {
  const [first, ...rest] = messages.map(({ part }) => part);
  const last = rest.pop();
  if (first?.$case !== "opening" || last?.$case !== "closing")
    throw new Error("it does not begin and end as it should");
  const lines = rest.flatMap((part) => {
    if (part?.$case !== "lines") throw new Error("there is something between its lines");
    expect(part.value.lines.length).to.be.within(1, 500);
    return part.value.lines;
  });
  return { opening: first.value, lines, closing: last.value };
}
