import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { connect, CallError, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { makeUser, makeWallet, transferRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

const WAIT_MS = 1_000;
const BURST = 150;
/** Longer than any call may wait. */
const STANDSTILL_MS = 5 * WAIT_MS;
/** The size of a burst, far less than a second's work. */
const BURSTS_MAX = 8;
/** The pause between bursts. */
const PAUSE_MS = 3 * WAIT_MS;

describe("a temporary standstill of the database", function () {
  this.timeout(120_000);

  let database: TestDatabase;
  let proxy: FaultProxy;
  let server: TestServer;
  let grey: Clients;

  before(async () => {
    database = await createTestDatabase();
    proxy = await startFaultProxy(database.url);
    server = await startServer({
      DATABASE_URL: proxy.url,
      GREY_CALL_WAIT_MS: `${WAIT_MS}`,
      // The standstill must not break connections.
      GREY_DATABASE_CONNECT_TIMEOUT_MS: "60000",
    });
    grey = connect(server.address);
  });
  after(async () => {
    const { faults } = await grey.ledger.checkIntegrity({ maxFaults: 0 });
    grey.close();
    await server.stop();
    await proxy.stop();
    await database.drop();
    expect(faults).to.deep.equal([]);
  });

  it("has no lasting effect: later bursts are accepted in full", async () => {
    const userId = (await makeUser(grey)).id;
    const a = (await makeWallet(grey, { userId, minorUnits: 1_000_000n })).id;
    const b = (await makeWallet(grey, { userId })).id;
    /** Counts the refused calls of a burst. */
    const countRefused = async (): Promise<number> => {
      const calls = Array.from({ length: BURST }, () =>
        grey.transactions.transfer(transferRequest(a, b, 1n), {}, 60_000),
      );
      const errors = (await Promise.allSettled(calls)).flatMap((one) =>
        one.status === "rejected" ? [one.reason] : [],
      );
      for (const error of errors) expect(error).to.be.instanceOf(CallError).with.property("reason", "OVERLOADED");
      return errors.length;
    };
    expect(await countRefused()).to.equal(0);
    proxy.blackHole();
    const since = performance.now();
    const stalled = countRefused();
    await eventually("calls that waited for long", () => performance.now() - since > STANDSTILL_MS, 60_000);
    proxy.thaw();
    expect(await stalled).to.equal(0);
    const refused: number[] = [];
    while (refused.length < BURSTS_MAX && refused.at(-1) !== 0) {
      await pause(PAUSE_MS);
      refused.push(await countRefused());
    }
    expect(refused.at(-1), `refused: ${refused.join(", ")}`).to.equal(0);
  });
});
