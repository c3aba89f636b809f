import { expect } from "chai";
import { benchId, ID_SPACE } from "../bench/bench-ids.js";
import { measureCapacity } from "../bench/calibrate.js";
import { runLoad, startServing } from "../bench/children.js";
import { Cleanup } from "../bench/cleanup.js";
import { LatencyHistogram } from "../bench/latency.js";
import { createFunctionBaseline, functionBaselineFaults, runFunctionFromNode } from "../bench/function-baseline.js";
import {
  countRequests,
  greyConservationFaults,
  integrityFaults,
  journalSize,
  fetchPageToken,
} from "../bench/grey-books.js";
import type { LoadPlan, LoadResult, Work } from "../bench/load-plan.js";
import { populate, transactionCount } from "../bench/populate.js";
import { createTypeormBaseline, typeormBaselineFaults } from "../bench/typeorm-books.js";
import { connect } from "../support/client.js";
import { createEmptyDatabase } from "../support/cluster.js";
import { startServer, type TestServer } from "../support/server.js";

const POPULATION = { wallets: 100, rounds: 3, deepTransfers: 60 };
const WINDOW = { warmupMs: 100, measureMs: 400 };

describe("the benchmark's pieces", () => {
  const cleanup = new Cleanup();
  let server: TestServer;

  before(async () => {
    server = await startServer();
    await populate(server.databaseUrl, POPULATION);
  });
  after(async () => {
    await cleanup.run();
    await server.stop();
  });

  function load(work: Work, plan: Partial<LoadPlan> = {}): Promise<LoadResult> {
    return runLoad(cleanup, {
      ...WINDOW,
      addresses: [server.address],
      work,
      inFlight: 32,
      deadlineMs: 10_000,
      refusedPauseMs: 10,
      keepsIds: false,
      watchedPids: {},
      ...plan,
    });
  }

  it("books that were populated obey every law, and their wallets have the ids that clients expect", async () => {
    expect(await journalSize(server.databaseUrl)).to.equal(transactionCount(POPULATION));
    expect(await integrityFaults(server.address)).to.deep.equal([]);
    const clients = connect(server.address);
    // Every wallet took part in each round; the last two have the deep history.
    const { balance } = await clients.wallets.getBalance({ walletId: benchId(ID_SPACE.WALLET, 42) });
    const deep = await clients.wallets.getBalance({ walletId: benchId(ID_SPACE.WALLET, POPULATION.wallets + 1) });
    clients.close();
    expect(balance?.version).to.equal(BigInt(1 + POPULATION.rounds));
    expect(deep.balance?.version).to.equal(BigInt(1 + POPULATION.deepTransfers));
  });

  const movements: readonly (readonly [name: string, work: Work, inFlight: number])[] = [
    ["unary calls", { kind: "transfer", wallets: 100, isHot: false }, 32],
    ["unary calls on one hot wallet", { kind: "transfer", wallets: 100, isHot: true }, 32],
    ["batches", { kind: "batch", wallets: 100, isHot: false, items: 20 }, 4],
    ["streams", { kind: "stream", wallets: 100, isHot: false }, 64],
  ];
  for (const [name, work, inFlight] of movements) {
    it(`a load of ${name} counts as answered what the books recorded, and conserves the money`, async () => {
      const before = await journalSize(server.databaseUrl);
      const { total, okPerSecond, latencyUs } = await load(work, { inFlight });
      expect(total.ok).to.be.greaterThan(0).and.to.equal(total.sent);
      expect((await journalSize(server.databaseUrl)) - before).to.equal(total.ok);
      expect(okPerSecond).to.be.greaterThan(0);
      expect(latencyUs.p50).to.be.greaterThan(0).and.to.be.at.most(latencyUs.p99);
      expect(await greyConservationFaults(server.databaseUrl)).to.deep.equal([]);
    });
  }

  it("a refusal by a rule is counted under its status and not as answered", async () => {
    // Half of these wallets do not exist.
    const { total } = await load({ kind: "transfer", wallets: 204, isHot: false });
    expect(total.statuses.NOT_FOUND).to.be.greaterThan(0);
    expect(total.statuses.OK).to.be.greaterThan(0).and.to.equal(total.ok);
    expect(total.statuses.OK! + total.statuses.NOT_FOUND!).to.equal(total.sent);
  });

  it("reads of every kind are answered, page tokens included", async () => {
    const wallet = POPULATION.wallets;
    const pageToken = await fetchPageToken(server.address, wallet, 3, 20);
    const works: Work[] = [
      { kind: "get-balance", wallets: 100 },
      { kind: "get-transaction", transactions: transactionCount(POPULATION) },
      { kind: "list", wallet, pageSize: 20, pageToken: "" },
      { kind: "list", wallet, pageSize: 20, pageToken },
    ];
    const before = await journalSize(server.databaseUrl);
    for (const work of works) {
      const { total } = await load(work, { warmupMs: 0, measureMs: 150 });
      expect(total.ok, work.kind).to.be.greaterThan(0).and.to.equal(total.sent);
    }
    expect(await journalSize(server.databaseUrl)).to.equal(before);
  });

  it("calls that an overloaded server refuses are told apart, by request id, from those that it posted", async () => {
    const narrow = await startServer({
      DATABASE_URL: server.databaseUrl,
      GREY_CALLS_IN_FLIGHT_MAX: "4",
      GREY_RETRY_AFTER_MS: "10",
    });
    const plan = { addresses: [narrow.address], inFlight: 64, keepsIds: true };
    const { total, okIds, refusedIds } = await load({ kind: "transfer", wallets: 100, isHot: false }, plan);
    await narrow.stop();
    expect(refusedIds).to.have.length(total.statuses.RESOURCE_EXHAUSTED!);
    expect(okIds).to.have.length(total.ok);
    expect(await countRequests(server.databaseUrl, okIds)).to.equal(okIds.length);
    expect(await countRequests(server.databaseUrl, refusedIds)).to.equal(0);
    expect(await integrityFaults(server.address)).to.deep.equal([]);
  });

  it("a load client can offer more than the server serves", async () => {
    const served = await load({ kind: "transfer", wallets: 100, isHot: false }, { inFlight: 128 });
    const capacity = await measureCapacity(cleanup, "unary", WINDOW);
    expect(capacity.perSecond).to.be.greaterThan(served.okPerSecond);
  });

  it("a quantile of latencies is off by no more than 1.6 %", () => {
    const histogram = new LatencyHistogram();
    for (let us = 1; us <= 200_000; us += 1) histogram.record(us);
    for (const share of [0.0001, 0.01, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = share * 200_000;
      expect(histogram.quantile(share)).to.be.closeTo(exact, Math.max(1, exact * 0.016));
    }
    expect(histogram.summary()).to.include({ count: 200_000, mean: 100_000.5, max: 200_000 });
  });

  it("both baselines conserve the money that they move", async () => {
    const [functionBooks, typeormBooks] = [await createEmptyDatabase(), await createEmptyDatabase()];
    await createFunctionBaseline(functionBooks.url, 100);
    const plan = { ...WINDOW, url: functionBooks.url, wallets: 100, isHot: false, clients: 4, run: 1 };
    expect((await runFunctionFromNode(cleanup, plan)).ok).to.be.greaterThan(0);
    expect(await functionBaselineFaults(functionBooks.url, 100)).to.deep.equal([]);

    await createTypeormBaseline(typeormBooks.url, 100);
    const typeorm = await startServing(cleanup, "baseline-typeorm.js", [typeormBooks.url]);
    const { total } = await load({ kind: "transfer", wallets: 100, isHot: false }, { addresses: [typeorm.address] });
    await typeorm.stop();
    expect(total.ok).to.be.greaterThan(0).and.to.equal(total.sent);
    expect(await typeormBaselineFaults(typeormBooks.url, 100)).to.deep.equal([]);
    await functionBooks.drop();
    await typeormBooks.drop();
  });
});
