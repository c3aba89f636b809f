import { expect } from "chai";
import { credentials } from "@grpc/grpc-js";
import pg from "pg";
import type { StreamTransfersResponse } from "../../generated/grey/transaction/v1/batch.js";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { connect, type Clients } from "../support/client.js";
import { findViolations } from "../support/invariants.js";
import { transferRequest } from "../support/ledger.js";
import {
  ClientJournal,
  makeDeposit,
  openWallets,
  planMovements,
  repeatAll,
  startLoad,
  type Movement,
} from "../support/load.js";
import { createRoute, endAllGrey, eventually, freePort, startGreyProcess } from "../support/process.js";

type Server = Awaited<ReturnType<typeof startGreyProcess>> & { readonly peer: string; readonly clients: Clients };

const SERVERS = 3;
// Longer than a busy machine stands still.
const LEASE_MS = 1_500;
const POSTER_LINE = "posting for all servers";
const FRONT_LINE = "handing postings over";
const ALONE_LINE = "posting for itself";

describe("servers of which one posts for all", function () {
  this.timeout(240_000);

  let database: TestDatabase;
  let sql: pg.Client;
  let servers: Server[];
  let journal: ClientJournal;

  beforeEach(async () => {
    database = await createTestDatabase();
    sql = new pg.Client({ connectionString: database.url });
    await sql.connect();
    servers = [];
    journal = new ClientJournal();
  });
  afterEach(async () => {
    for (const { clients } of servers) clients.close();
    await endAllGrey();
    await sql.end();
    await database.drop();
  });

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<Server> {
    const peer = `127.0.0.1:${await freePort()}`;
    const server = await startGreyProcess({
      DATABASE_URL: database.url,
      GREY_PEER_ADDRESS: peer,
      GREY_LEASE_MS: `${LEASE_MS}`,
      GREY_RETRY_AFTER_MS: "20",
      ...settings,
    });
    return { ...server, peer, clients: connect(server.address) };
  }

  /** Starts all servers, and waits until the first posts for the others. */
  async function startAll(): Promise<{ readonly poster: Server; readonly fronts: readonly Server[] }> {
    const poster = await start();
    await poster.line(POSTER_LINE);
    const fronts = await Promise.all(Array.from({ length: SERVERS - 1 }, () => start()));
    servers = [poster, ...fronts];
    await Promise.all(fronts.map((front) => front.line(FRONT_LINE)));
    return { poster, fronts };
  }

  /** Starts movements on all servers. */
  async function load(count: number) {
    const wallets = await openWallets(servers.at(-1)!.clients, journal, 4, 5_000n);
    const movements = planMovements(wallets, count);
    const callers = servers.map(({ clients }) => clients);
    return { movements, ...startLoad({ servers: callers, journal, movements, callers: 24, timeoutMs: 5_000 }) };
  }

  function count(server: Server, message: string): number {
    return server.logs.filter((line) => line.message === message).length;
  }

  /** Asserts the laws, that every server gives the same answers, and that only what had a setback was answered as repeated. */
  async function assertLaws(movements: readonly Movement[], alive: readonly Server[]): Promise<void> {
    const retried = new Set(journal.setbacks.map(({ requestId }) => requestId));
    const repeated = [...journal.answers].filter(([id, { replayed }]) => replayed && !retried.has(id));
    expect(repeated, "answered as repeated, and sent once").to.deep.equal([]);
    for (const [index, { clients }] of alive.entries()) {
      await repeatAll(
        clients,
        journal,
        movements.filter((_, n) => n % alive.length === index),
      );
    }
    expect(await findViolations(database.url, journal, alive[0]!.clients.ledger)).to.deep.equal([]);
    const faults = servers.flatMap(({ logs }) => logs).filter(({ message }) => message === "fault");
    expect(faults, "errors that Grey does not know").to.deep.equal([]);
  }

  /** Has the database change what servers write into the lease. */
  async function onClaim(statements: string): Promise<void> {
    await sql.query(`
      CREATE FUNCTION change_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${statements} RETURN NEW; END $$;
      CREATE TRIGGER change_lease BEFORE INSERT OR UPDATE ON posting_lease FOR EACH ROW EXECUTE FUNCTION change_lease()`);
  }

  it("hand every posting over, and get every answer", async () => {
    const { poster } = await startAll();
    const { movements, done } = await load(400);
    await done;
    expect(journal.setbacks).to.deep.equal([]);
    const { rows } = await sql.query(
      "SELECT FROM pg_stat_activity WHERE application_name = 'grey-posting' AND datname = current_database()",
    );
    expect(rows, "connections that post").to.have.length(1);
    expect(count(poster, POSTER_LINE)).to.equal(1);
    await assertLaws(movements, servers);
  });

  it("when the poster is stopped: another takes over, without a setback for the callers of the fronts", async () => {
    const { poster, fronts } = await startAll();
    servers = [...fronts, poster];
    const wallets = await openWallets(fronts[0]!.clients, journal, 4, 5_000n);
    const movements = planMovements(wallets, 600);
    const { answered, done } = startLoad({
      servers: fronts.map(({ clients }) => clients),
      journal,
      movements,
      callers: 24,
    });
    await answered(100);
    poster.signal("SIGTERM");
    expect(await poster.ended).to.include({ code: 0 });
    await done;
    expect(journal.setbacks).to.deep.equal([]);
    await eventually("another poster", () => fronts.some((front) => count(front, POSTER_LINE) > 0));
    await assertLaws(movements, fronts);
  });

  it("when the poster is killed with -9 under load: the fronts go on, and one of them takes over", async () => {
    const { poster, fronts } = await startAll();
    const { movements, answered, done } = await load(600);
    await answered(150);
    poster.signal("SIGKILL");
    await poster.ended;
    await done;
    await eventually("another poster", () => fronts.some((front) => count(front, POSTER_LINE) > 0));
    await assertLaws(movements, fronts);
  });

  it("when the poster is paused and woken after another took over: it posts nothing that it was handed", async () => {
    const { poster, fronts } = await startAll();
    const { movements, answered, done } = await load(600);
    await answered(150);
    poster.signal("SIGSTOP");
    let size: unknown;
    try {
      await eventually("another poster", () => fronts.some((front) => count(front, POSTER_LINE) > 0));
      await answered(300);
    } finally {
      poster.signal("SIGCONT");
    }
    await done;
    size = (await sql.query("SELECT size FROM journal_head")).rows;
    await poster.line(FRONT_LINE);
    await assertLaws(movements, servers);
    expect((await sql.query("SELECT size FROM journal_head")).rows, "the journal, afterwards").to.deep.equal(size);
  });

  for (const [how, fault] of [
    ["refused", "cut"],
    ["swallowed", "silence"],
  ] as const) {
    it(`when the poster reaches the database and the fronts do not reach it (${how}): everyone posts`, async () => {
      const poster = await start();
      await poster.line(POSTER_LINE);
      const route = await createRoute(`tcp://${poster.peer}`);
      await route.open();
      await onClaim(`IF NEW.address = '${poster.peer}' THEN NEW.address = '${new URL(route.url).host}'; END IF;`);
      await eventually("the detour", async () => {
        const { rows } = await sql.query<{ address: string }>("SELECT address FROM posting_lease");
        return rows[0]?.address === new URL(route.url).host;
      });
      const fronts = await Promise.all([start(), start()]);
      servers = [poster, ...fronts];
      await Promise.all(fronts.map((front) => front.line(FRONT_LINE)));
      const { movements, answered, done } = await load(600);
      try {
        await answered(150);
        if (fault === "cut") await route.cut();
        else route.silence();
        await done;
        await Promise.all(fronts.map((front) => front.line(ALONE_LINE)));
        expect(count(poster, POSTER_LINE), "times that the poster took the lease").to.equal(1);
        await assertLaws(movements, servers);
      } finally {
        await route.cut();
      }
    });
  }

  it("when the poster cannot renew the lease, and lives: it takes no more units, and another takes over", async () => {
    const { poster, fronts } = await startAll();
    const { movements, answered, done } = await load(600);
    await answered(150);
    await onClaim(`IF NEW.address = '${poster.peer}' THEN RAISE 'no lease for this one'; END IF;`);
    await eventually("another poster", () => fronts.some((front) => count(front, POSTER_LINE) > 0));
    await done;
    await assertLaws(movements, servers);
  });

  it("when a front is killed with commands under way: its callers get their outcomes from another", async () => {
    const { poster, fronts } = await startAll();
    const { movements, answered, done } = await load(600);
    await answered(150);
    fronts[0]!.signal("SIGKILL");
    await fronts[0]!.ended;
    await done;
    await assertLaws(movements, [poster, fronts[1]!]);
  });

  it("when they disagree all the time about who posts: no answer is lost, and nothing is posted twice", async () => {
    await startAll();
    // Each term ends while its holder believes that it goes on.
    await onClaim(`NEW.expire_time = clock_timestamp() + random() * interval '${LEASE_MS} ms';`);
    const terms = Number(process.env.TEST_TERMS ?? 8);
    const all: Movement[] = [];
    const countTerms = (): number => servers.reduce((sum, server) => sum + count(server, POSTER_LINE), 0);
    do {
      const { movements, done } = await load(200);
      await done;
      all.push(...movements);
    } while (countTerms() < terms || servers.some((server) => count(server, POSTER_LINE) === 0));
    await assertLaws(all, servers);
  });

  for (const [what, change] of [
    ["is stopped", (poster: Server) => poster.signal("SIGTERM")],
    ["is killed with -9", (poster: Server) => poster.signal("SIGKILL")],
  ] as const) {
    it(`when the poster ${what}: a stream's transfers are posted in their order`, async () => {
      const { poster, fronts } = await startAll();
      const front = fronts[0]!;
      const [a = "", b = ""] = await openWallets(front.clients, journal, 2, 0n);
      const all = makeDeposit(a, 1_000n);
      await startLoad({ servers: [front.clients], journal, movements: [all], callers: 1 }).done;
      // Each moves all the money back and forth: out of order, it would be refused.
      const transfers = Array.from({ length: 1_200 }, (_, n) =>
        n % 2 === 0 ? transferRequest(a, b, all.amountMinor) : transferRequest(b, a, all.amountMinor),
      );
      const client = new TransactionServiceClient(front.address, credentials.createInsecure());
      const stream = client.streamTransfers();
      const refused: unknown[] = [];
      let answered = 0;
      const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
      stream.on("data", ({ outcome }: StreamTransfersResponse) => {
        answered += 1;
        if (outcome?.$case !== "posted") refused.push(outcome);
        if (answered === 300) change(poster);
      });
      let written = 0;
      // Some are always under way.
      for (const transfer of transfers) {
        stream.write({ correlation: BigInt(written), transfer });
        written += 1;
        await eventually("answers", () => written - answered < 40, 30_000);
      }
      stream.end();
      await ended;
      client.close();
      expect(refused).to.deep.equal([]);
      expect(answered).to.equal(transfers.length);
      await poster.ended;
      const { balance } = await front.clients.wallets.getBalance({ walletId: a });
      expect(balance?.posted?.minorUnits).to.equal(1_000n);
    });
  }

  it("of different builds: they do not hand over", async () => {
    const { fronts } = await startAll();
    await onClaim("NEW.build = 'another';");
    fronts[1]!.signal("SIGTERM");
    await fronts[1]!.ended;
    const newcomer = await start();
    servers.push(newcomer);
    const { cause } = await newcomer.line(ALONE_LINE);
    expect(cause).to.match(/runs another build of Grey$/);
  });
});
