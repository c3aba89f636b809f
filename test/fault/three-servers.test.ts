import { expect } from "chai";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { connect, type Clients } from "../support/client.js";
import { findViolations } from "../support/invariants.js";
import { repeatAll, ClientJournal, openWallets, planMovements, startLoad } from "../support/load.js";
import { endAllGrey, freePort, startGreyProcess } from "../support/process.js";

type Server = Awaited<ReturnType<typeof startGreyProcess>>;

describe("three servers on one database", function () {
  this.timeout(180_000);

  const SERVERS = 3;
  let database: TestDatabase;
  let ports: number[];
  let servers: Server[];
  let clients: Clients[];
  let journal: ClientJournal;

  before(async () => {
    database = await createTestDatabase();
    ports = await Promise.all(Array.from({ length: SERVERS }, freePort));
    servers = await Promise.all(ports.map(start));
    clients = servers.map((server) => connect(server.address));
    journal = new ClientJournal();
  });
  after(async () => {
    for (const client of clients) client.close();
    await endAllGrey();
    await database.drop();
  });

  function start(port: number): Promise<Server> {
    return startGreyProcess({ DATABASE_URL: database.url, GREY_PORT: `${port}`, GREY_RETRY_AFTER_MS: "20" });
  }

  it("under load on the same wallets, one killed with -9 and restarted: every call gets its one outcome, and every law holds", async () => {
    // Few wallets, so that each server's cache is stale most of the time.
    const wallets = await openWallets(clients[0]!, journal, 4, 5_000n);
    const movements = planMovements(wallets, 360);
    const load = startLoad({ servers: clients, journal, movements, callers: 18, timeoutMs: 5_000 });
    await load.answered(90);
    servers[1]!.signal("SIGKILL");
    expect(await servers[1]!.ended).to.include({ signal: "SIGKILL" });
    await load.answered(180);
    servers[1] = await start(ports[1]!);
    await load.done;
    expect(journal.setbacks.map(({ code }) => code)).to.include("UNAVAILABLE");
    const reasons = new Set([...journal.answers.values()].map(({ refusal }) => refusal));
    expect([...reasons], "what came of them").to.have.members([undefined, "INSUFFICIENT_FUNDS"]);

    // All servers return the same outcomes.
    for (const [index, client] of clients.entries()) {
      await repeatAll(
        client,
        journal,
        movements.filter((_, n) => n % SERVERS === index),
      );
    }
    expect(await findViolations(database.url, journal, clients[0]!.ledger)).to.deep.equal([]);
    const faults = servers.flatMap((server) => server.logs).filter(({ message }) => message === "fault");
    expect(faults, "errors that Grey does not know").to.deep.equal([]);
  });
});
