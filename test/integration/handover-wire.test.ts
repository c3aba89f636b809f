import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { expect } from "chai";
import { FailureError } from "../../src/base/failure.js";
import { NO_CALLER } from "../../src/base/caller-context.js";
import { openLink, type Link, type Waiting } from "../../src/ledger/handover/link.js";
import { listenForFronts, type Poster } from "../../src/ledger/handover/poster.js";
import { checkIntegrity } from "../../src/ledger/check/check.js";
import type { MovementCommand } from "../../src/ledger/command/command.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import { transfer } from "../support/ledger.js";
import { openEngineLedger, type EngineLedger, type TestEngine } from "../support/engine.js";
import { eventually, freePort } from "../support/process.js";

const HANDSHAKE_MS = 300;

describe("the wire between a front and the poster", function () {
  this.timeout(60_000);

  let ledger: EngineLedger;
  let engine: TestEngine;
  let poster: Poster;
  let address: string;
  let token: Buffer;
  let isHeld: boolean;
  let faults: unknown[];
  const sockets: Socket[] = [];
  const links: Link[] = [];

  before(async () => {
    ledger = await openEngineLedger();
    engine = await ledger.startEngine();
  });
  beforeEach(async () => {
    isHeld = true;
    faults = [];
    token = randomBytes(32);
    address = `127.0.0.1:${await freePort()}`;
    poster = await listenForFronts(engine.engine, {
      address,
      handshakeMs: HANDSHAKE_MS,
      unsentBytesMax: 1_000_000,
      isServing: () => isHeld,
      onFault: (error) => faults.push(error),
    });
    poster.open(token);
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    for (const link of links.splice(0)) link.break();
    await poster.stop(1_000);
  });
  after(async () => {
    expect((await checkIntegrity(engine.database, 100)).faults).to.deep.equal([]);
    await ledger.close();
  });

  async function dial(): Promise<Socket> {
    const [host = "", port = ""] = address.split(":");
    const socket = connect({ host, port: Number(port) });
    sockets.push(socket);
    socket.on("error", () => undefined).resume();
    await once(socket, "connect");
    return socket;
  }

  async function join(
    secret = token,
    onBroken: (unanswered: readonly Waiting[]) => void = () => undefined,
    onClosing: () => void = () => undefined,
  ): Promise<Link> {
    const link = await openLink(
      { address, build: "", token: secret },
      { silenceMs: 2_000, onBroken, onClosing, onFault: (error) => faults.push(error) },
    );
    links.push(link);
    return link;
  }

  function hand(link: Link, commands: readonly MovementCommand[], context = NO_CALLER): Promise<Outcome[]> {
    return new Promise((resolve, reject) => {
      link.hand({ unit: { mode: "INDEPENDENT", commands }, context, resolve, reject });
    });
  }

  /** Asserts that a front that knows the secret is served. */
  async function assertServes(): Promise<void> {
    const [from = "", to = ""] = await ledger.openWallets(2, { minBalance: null });
    const [outcome] = await hand(await join(), [transfer(from, to, 5n)]);
    expect(outcome).to.have.nested.property("transaction.amountMinor", 5n);
    expect(faults).to.deep.equal([]);
  }

  it("answers units in full, and refusals by their reason", async () => {
    const [from = ""] = await ledger.openWallets(1, { minBalance: null });
    const [to = ""] = await ledger.openWallets(1);
    const link = await join();
    const commands = [transfer(from, to, 5n), transfer(to, from, 7n)];
    const outcomes = await hand(link, commands);
    expect(outcomes.map((outcome) => ("transaction" in outcome ? outcome.transaction.failure?.reason : "")))
      .to.deep.equal([undefined, "INSUFFICIENT_FUNDS"]); // prettier-ignore
    const again = await hand(link, commands);
    expect(again).to.deep.equal(outcomes.map((outcome) => ({ ...outcome, replayed: false })));
  });

  it("is closed to a front that does not know the secret of this term", async () => {
    const error = await join(randomBytes(32)).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(Error);
    await assertServes();
  });

  it("is not given to a listener that does not know the secret", async () => {
    const secret = token;
    poster.open(randomBytes(32));
    const error = await join(secret).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(Error);
  });

  for (const [what, bytes] of [
    ["nothing", Buffer.alloc(0)],
    ["half a proof", randomBytes(40)],
    ["a wrong proof and frames", randomBytes(100_000)],
  ] as const) {
    it(`is closed to one that sends ${what}`, async () => {
      const socket = await dial();
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.write(bytes);
      await closed;
      await assertServes();
    });
  }

  it("is closed to everyone once the term has ended, and to those of the term before", async () => {
    const broken: (readonly Waiting[])[] = [];
    await join(token, (unanswered) => broken.push(unanswered));
    poster.close();
    await eventually("the end of the link", () => broken.length === 1);
    expect(await join().catch(() => "refused")).to.equal("refused");
    const former = token;
    token = randomBytes(32);
    poster.open(token);
    expect(await join(former).catch(() => "refused")).to.equal("refused");
    await assertServes();
  });

  /** Hands over two units that are under way, and one that waits for them. */
  async function handThree(link: Link, context = NO_CALLER) {
    const [from = "", to = ""] = await ledger.openWallets(2, { minBalance: null });
    const movements = [1n, 2n, 3n, 4n].map((amount) => transfer(from, to, amount));
    const [first, second, third, fourth] = movements as [
      MovementCommand,
      MovementCommand,
      MovementCommand,
      MovementCommand,
    ];
    engine.batches.close();
    const underWay: Promise<Outcome[]>[] = [];
    for (const movement of [first, second]) {
      underWay.push(hand(link, [movement]));
      const expected = underWay.length;
      await eventually("a batch under way", () => engine.batches.waiting === expected);
    }
    const waiting = hand(link, [third], context);
    waiting.catch(() => undefined);
    await eventually("a unit that waits", () => engine.engine.depth === 1);
    return { first, second, third, fourth, underWay, waiting };
  }

  async function arePosted(...movements: readonly MovementCommand[]): Promise<boolean[]> {
    const posted = (await ledger.postedBatches()).flat();
    return movements.map(({ transactionId }) => posted.includes(transactionId));
  }

  it("gives the units back in their order when it breaks, and the poster does not post those that wait", async () => {
    let given: readonly Waiting[] | undefined;
    const link = await join(token, (unanswered) => (given = unanswered));
    const { first, second, third, fourth } = await handThree(link);
    link.break();
    await eventually("the end of the link", () => given !== undefined);
    const ids = given!.map(({ unit }) => unit.commands[0]!.requestId);
    expect(ids).to.deep.equal([first, second, third].map(({ requestId }) => requestId));
    // A link of its own: the poster has noticed the end of the other when it has this unit.
    const other = hand(await join(), [fourth]);
    await eventually("another unit that waits", () => engine.engine.depth === 2);
    engine.batches.open();
    await other;
    expect(await arePosted(first, second, third, fourth)).to.deep.equal([true, true, false, true]);
  });

  it("tells the poster of callers that have left, whose units are not posted", async () => {
    let isGone = false;
    let asked = 0;
    const context = {
      assertWaiting: () => {
        asked += isGone ? 1 : 0;
        if (isGone) throw new FailureError({ reason: "CALLER_GONE" });
      },
    };
    const link = await join();
    const { third, fourth, underWay, waiting } = await handThree(link, context);
    isGone = true;
    await eventually("the front has noticed", () => asked > 0);
    // What is sent later arrives later.
    const other = hand(link, [fourth]);
    await eventually("another unit that waits", () => engine.engine.depth === 2);
    engine.batches.open();
    await Promise.all([...underWay, other]);
    expect(await waiting.catch((error: unknown) => error)).to.have.nested.property("failure.reason", "CALLER_GONE");
    expect(await arePosted(third)).to.deep.equal([false]);
  });

  it("takes no more units from a poster that has lost the lease: those that wait are given back", async () => {
    let given: readonly Waiting[] | undefined;
    const link = await join(token, (unanswered) => (given = unanswered));
    const { third } = await handThree(link);
    isHeld = false;
    engine.batches.open();
    await eventually("the end of the link", () => given !== undefined);
    expect(given!.map(({ unit }) => unit.commands[0]!.requestId)).to.include(third.requestId);
    expect(await arePosted(third)).to.deep.equal([false]);
  });

  it("breaks when it cannot carry a unit, and the others do not", async () => {
    await assertServes();
    const link = await join();
    let isBroken = false;
    const bad = await join(token, () => (isBroken = true));
    hand(bad, [transfer("", "", 1n)]).catch(() => undefined);
    await eventually("the end of the link", () => isBroken);
    expect(faults.splice(0)).to.have.length(1);
    expect(link.isBroken).to.equal(false);
    await assertServes();
  });
});
