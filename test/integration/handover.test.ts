import { expect } from "chai";
import { NO_CALLER } from "../../src/base/caller-context.js";
import type { FailureError } from "../../src/base/failure.js";
import { readConfig } from "../../src/config/config.js";
import { startHandover, type Handover, type Role } from "../../src/ledger/handover/handover.js";
import type { MovementCommand } from "../../src/ledger/command/command.js";
import { openEngineLedger, type EngineLedger, type TestEngine } from "../support/engine.js";
import { transfer } from "../support/ledger.js";
import { createRoute, eventually, freePort } from "../support/process.js";

/** A server's engine, and what it does with postings. */
interface TestServer {
  readonly own: TestEngine;
  readonly handover: Handover;
  readonly roles: readonly Role[];
}

describe("handing postings over", function () {
  this.timeout(60_000);

  let ledger: EngineLedger;
  let servers: TestServer[];
  let faults: unknown[];

  beforeEach(async () => {
    ledger = await openEngineLedger();
    servers = [];
    faults = [];
  });
  afterEach(async () => {
    for (const { own } of servers) own.batches.open();
    for (const { handover } of servers) await handover.stop();
    const violations = await ledger.violations();
    await ledger.close();
    expect(violations).to.deep.equal([]);
    expect(faults).to.deep.equal([]);
  });

  async function start(settings: Readonly<Record<string, string>> = {}, url = ledger.url): Promise<TestServer> {
    const own = await ledger.startEngine({}, url);
    const peer = `127.0.0.1:${await freePort()}`;
    const config = readConfig({ GREY_LEASE_MS: "2000", ...settings });
    const roles: Role[] = [];
    const handover = await startHandover(
      own.engine,
      own.database,
      { ...config, GREY_PEER_ADDRESS: peer },
      {
        onRole: (role) => roles.push(role),
        onFault: (error) => faults.push(error),
      },
    );
    const server = { own, handover, roles };
    servers.push(server);
    return server;
  }

  function whenIs({ roles }: TestServer, name: Role["name"]): Promise<void> {
    return eventually(`a server that is ${name}`, () => roles.at(-1)?.name === name);
  }

  /** Posts movements as one unit, and notes them in the callers' journal. @returns the refusals, and "posted" */
  async function postAll({ handover }: TestServer, movements: readonly MovementCommand[]): Promise<string[]> {
    const outcomes = await handover.engine.post({ mode: "INDEPENDENT", commands: movements }, NO_CALLER);
    return outcomes.map((outcome, index) => {
      if (!("transaction" in outcome)) return outcome.failure.reason;
      const { transaction, replayed } = outcome;
      const { requestId, debitAccountId, creditAccountId, amountMinor } = movements[index]!;
      const parties = { fromWalletId: debitAccountId, toWalletId: creditAccountId };
      const refusal = transaction.failure?.reason;
      ledger.callers.asked.set(requestId, { kind: "TRANSFER", requestId, ...parties, amountMinor });
      ledger.callers.answers.set(requestId, { transactionId: transaction.id, refusal, replayed });
      return refusal ?? "posted";
    });
  }

  async function post(server: TestServer, movement: MovementCommand): Promise<string | undefined> {
    return (await postAll(server, [movement]))[0];
  }

  async function openWallets() {
    const [from = ""] = await ledger.openWallets(1, { minBalance: null });
    const [to = "", third = ""] = await ledger.openWallets(2);
    return { from, to, third };
  }

  it("a server that hands over no more keeps what comes until all before is answered", async () => {
    const { from, to, third } = await openWallets();
    const poster = await start();
    await whenIs(poster, "POSTER");
    const front = await start();
    await whenIs(front, "FRONT");
    poster.own.batches.close();
    const first = post(front, transfer(from, to, 5n));
    await eventually("the first is under way", () => poster.own.batches.waiting === 1);
    const stopping = poster.handover.stop();
    // It spends what the first brings.
    const second = post(front, transfer(to, third, 5n));
    await eventually("the lease is free", async () => {
      const { rows } = await ledger.admin.query("SELECT FROM posting_lease WHERE expire_time <= clock_timestamp()");
      return rows.length === 1;
    });
    await whenIs(front, "POSTER").catch(() => undefined);
    expect(front.own.batches.ended, "batches that the front wrote itself").to.equal(0);
    poster.own.batches.open();
    expect(await first).to.equal("posted");
    expect(await second).to.equal("posted");
    await stopping;
  });

  it("a server that begins to hand over waits for the answers of its own engine", async () => {
    const { from, to, third } = await openWallets();
    const poster = await start();
    await whenIs(poster, "POSTER");
    poster.own.batches.close();
    const newcomer = await start();
    newcomer.own.batches.close();
    const first = post(newcomer, transfer(from, to, 5n));
    await eventually("the first is under way", () => newcomer.own.batches.waiting === 1);
    // Once the link is there, what comes is kept: it counts as waiting here, and is in no engine.
    const later: Promise<string | undefined>[] = [];
    await eventually("a unit that is kept", () => {
      later.push(post(newcomer, transfer(to, third, 1n)));
      return newcomer.handover.engine.depth > newcomer.own.engine.depth;
    });
    expect(poster.own.engine.depth + poster.own.batches.waiting, "units at the poster").to.equal(0);
    expect(newcomer.roles.map(({ name }) => name)).to.deep.equal([]);
    newcomer.own.batches.open();
    await whenIs(newcomer, "FRONT");
    poster.own.batches.open();
    expect(await first).to.equal("posted");
    const refusals = (await Promise.all(later)).filter((outcome) => outcome !== "posted");
    expect(refusals).to.deep.equal(later.slice(5).map(() => "INSUFFICIENT_FUNDS"));
  });

  it("a lease from before the database's clock went back is free", async () => {
    await ledger.admin.query(
      `INSERT INTO posting_lease (address, build, token, expire_time)
       VALUES ('127.0.0.1:1', '', $1, clock_timestamp() + interval '1 hour')`,
      [Buffer.alloc(32)],
    );
    await whenIs(await start(), "POSTER");
  });

  it("a poster without its database says so, and its front posts what comes next", async () => {
    const { from, to } = await openWallets();
    const route = await createRoute(ledger.url);
    await route.open();
    const poster = await start({}, route.url);
    await whenIs(poster, "POSTER");
    const front = await start();
    await whenIs(front, "FRONT");
    expect(await post(front, transfer(from, to, 1n))).to.equal("posted");
    await route.cut();
    const movement = transfer(from, to, 5n);
    const refused: unknown[] = [];
    await eventually("a front that posts", async () => {
      const outcome = await post(front, movement).catch((error: unknown) => {
        refused.push((error as FailureError).failure.reason);
      });
      return outcome === "posted";
    });
    // The one under way when the route was cut may have been written.
    expect(["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"]).to.include.members([...new Set(refused)]);
    expect(refused.length).to.be.greaterThan(0);
    expect(ledger.callers.answers.get(movement.requestId)?.replayed).to.equal(false);
    expect(front.own.batches.ended, "batches that the front sent itself").to.be.greaterThan(0);
  });

  it("a poster that stops answers all that it was handed", async () => {
    const { from, to } = await openWallets();
    const poster = await start();
    await whenIs(poster, "POSTER");
    const front = await start();
    await whenIs(front, "FRONT");
    poster.own.batches.close();
    const under: Promise<string | undefined>[] = [];
    await eventually("two batches under way, and units that wait", () => {
      under.push(post(front, transfer(from, to, 1n)));
      return poster.own.engine.depth > 2;
    });
    const stopping = poster.handover.stop();
    await whenIs(front, "POSTER");
    // Longer than a quarter of the lease, after which a server without it gives units back.
    const expiry = async (): Promise<number> => {
      const { rows } = await ledger.admin.query<{ ms: number }>(
        "SELECT extract(epoch FROM expire_time)::float8 * 1000 AS ms FROM posting_lease",
      );
      return rows[0]!.ms;
    };
    const first = await expiry();
    await eventually("the other's lease is renewed", async () => (await expiry()) - first > 1_200);
    poster.own.batches.open();
    expect(new Set(await Promise.all(under))).to.deep.equal(new Set(["posted"]));
    await stopping;
    expect(front.own.batches.ended, "batches that the front wrote itself").to.equal(0);
  });

  it("more than the queue may hold is refused with OVERLOADED, and one unit always passes", async () => {
    const { from, to } = await openWallets();
    const poster = await start();
    await whenIs(poster, "POSTER");
    const front = await start({ GREY_POSTING_QUEUE_MAX: "2" });
    await whenIs(front, "FRONT");
    poster.own.batches.close();
    const taken = [1n, 2n].map((amount) => post(front, transfer(from, to, amount)));
    const refused = await front.handover.engine
      .post({ mode: "INDEPENDENT", commands: [transfer(from, to, 3n)] }, NO_CALLER)
      .catch((error: unknown) => error);
    expect(refused).to.have.nested.property("failure.reason", "OVERLOADED");
    poster.own.batches.open();
    expect(await Promise.all(taken)).to.deep.equal(["posted", "posted"]);
    const three = [4n, 5n, 6n].map((amount) => transfer(from, to, amount));
    expect(await postAll(front, three)).to.deep.equal(["posted", "posted", "posted"]);
  });
});
