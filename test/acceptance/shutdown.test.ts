import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import pg from "pg";
import { TransactionServiceClient } from "../../generated/grey/transaction/v1/transaction_service.js";
import { WatchTransactionsRequest } from "../../generated/grey/transaction/v1/watch.js";
import { HealthClient } from "../../generated/grpc/health/v1/health.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import {
  listDescendants,
  endAllGrey,
  eventually,
  freePort,
  isAlive,
  makeFolder,
  postmasterPid,
  startGreyProcess,
  spawnGrey,
  createRoute,
} from "../support/process.js";
import { connectRaw } from "../support/raw-call.js";
import { follow } from "../support/watch.js";

/** How long a stop with nothing to wait for may take. */
const QUICK_MS = 3_000;

describe("a stop of the server", () => {
  after(() => endAllGrey());

  describe("with its own PostgreSQL", () => {
    let folder: Awaited<ReturnType<typeof makeFolder>>;
    let dataDir: string;

    before(async () => {
      folder = await makeFolder();
      dataDir = join(folder.path, "data of grey");
    });
    afterEach(() => endAllGrey());
    after(() => folder.remove());

    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      it(`by ${signal} exits quickly with 0, logs it, and leaves no process and no lock`, async () => {
        const server = await startGreyProcess({ GREY_DATA_DIR: dataDir });
        const grey = connect(server.address);
        await grey.users.createUser(user());
        // A stream that only watches does not hold it up.
        const health = new HealthClient(server.address, credentials.createInsecure());
        const watch = health.watch({ service: "" });
        watch.on("error", () => undefined);
        await new Promise((resolve) => watch.once("data", resolve));
        const family = [server.pid, await postmasterPid(dataDir), ...(await listDescendants(server.pid))];
        expect(family.length).to.be.greaterThan(3);

        const started = Date.now();
        server.signal(signal);
        const ending = await server.ended;
        const tookMs = Date.now() - started;
        expect(ending).to.include({ code: 0, signal: null, err: "" });
        expect(server.logs.slice(-2).map((line) => line.message)).to.deep.equal(["stopping", "stopped"]);
        expect(server.logs.find((line) => line.message === "stopping")).to.include({ signal });
        expect(family.filter(isAlive)).to.deep.equal([]);
        expect(existsSync(join(dataDir, "postgres", "postmaster.pid"))).to.equal(false);
        expect(tookMs).to.be.below(QUICK_MS);
        health.close();
        grey.close();
      });
    }

    it("by a second signal ends open streams with SHUTTING_DOWN before PostgreSQL goes away", () =>
      assertSecondSignalEndsStreams({ GREY_DATA_DIR: dataDir }));

    it("during the start exits with 0 as well, and leaves no process", async () => {
      const server = spawnGrey({ GREY_DATA_DIR: dataDir });
      const pidFile = join(dataDir, "postgres", "postmaster.pid");
      await eventually("PostgreSQL", () => existsSync(pidFile), 30_000);
      const family = [server.pid, ...(await listDescendants(server.pid))];
      server.signal("SIGTERM");
      const { code, signal, err } = await server.ended;
      expect({ code, signal, err }).to.deep.equal({ code: 0, signal: null, err: "" });
      expect(family.filter(isAlive)).to.deep.equal([]);
      expect(existsSync(pidFile)).to.equal(false);
    });
  });

  describe("with another PostgreSQL", () => {
    let database: TestDatabase;
    let admin: pg.Client;
    /** Holds tables. */
    let holder: pg.Client;

    beforeEach(async () => {
      database = await createTestDatabase();
      admin = new pg.Client(database.url);
      holder = new pg.Client(database.url);
      await Promise.all([admin.connect(), holder.connect()]);
    });
    afterEach(async () => {
      await endAllGrey();
      await Promise.all([admin.end(), holder.end()]);
      await database.drop();
    });

    it("answers the calls in flight, and takes no new ones", async () => {
      const server = await startGreyProcess({ DATABASE_URL: database.url });
      const grey = connect(server.address);
      const made = await openWallets(grey);
      await holder.query("BEGIN; LOCK TABLE journal_head IN ACCESS EXCLUSIVE MODE");
      const answers = [grey.users.createUser(user()), grey.transactions.transfer(transfer(made))];
      await eventually("both calls to wait", async () => (await waiting()) === 2);
      server.signal("SIGTERM");
      await server.line("stopping");
      const late = connectRaw(server.address, { "grpc.primary_user_agent": "late" });
      await eventually("a refused connection", async () => {
        const { error } = await late.call("/grey.user.v1.UserService/ListUsers", Buffer.alloc(0), { timeoutMs: 5_000 });
        return error?.code === "UNAVAILABLE";
      });
      await holder.query("ROLLBACK");
      await Promise.all(answers);
      expect(await server.ended).to.include({ code: 0, signal: null });
      late.close();
      grey.close();
    });

    it("breaks off calls that take longer than GREY_SHUTDOWN_TIMEOUT_MS", async () => {
      const server = await startGreyProcess({ DATABASE_URL: database.url, GREY_SHUTDOWN_TIMEOUT_MS: "500" });
      const grey = connect(server.address);
      await holder.query("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE");
      const stuck = refusal(grey.users.createUser(user()));
      await eventually("the call to wait", async () => (await waiting()) === 1);
      const started = Date.now();
      server.signal("SIGTERM");
      expect(["UNAVAILABLE", "CANCELLED", "INTERNAL"]).to.include((await stuck).code);
      const { signal } = await server.ended;
      expect(signal).to.equal(null);
      expect(Date.now() - started).to.be.below(10_000);
      await holder.query("ROLLBACK");
      grey.close();
    });

    it("by a second signal does not wait for anything", async () => {
      const server = await startGreyProcess({ DATABASE_URL: database.url, GREY_DRAIN_MS: "60000" });
      server.signal("SIGTERM");
      await server.line("stopping");
      const started = Date.now();
      server.signal("SIGTERM");
      expect(await server.ended).to.include({ code: 1, signal: null });
      expect(Date.now() - started).to.be.below(QUICK_MS);
    });

    it("by a second signal ends open streams with SHUTTING_DOWN", () =>
      assertSecondSignalEndsStreams({ DATABASE_URL: database.url }));

    it("during the wait for an unreachable database exits quickly with 0", async () => {
      const port = await freePort();
      const server = spawnGrey({ DATABASE_URL: `postgres://nobody:secret@127.0.0.1:${port}/nothing` });
      await server.line("the database cannot be reached yet");
      const started = Date.now();
      server.signal("SIGINT");
      const { code, out } = await server.ended;
      expect(code).to.equal(0);
      expect(Date.now() - started).to.be.below(QUICK_MS);
      expect(out).not.to.include("secret");
    });

    it("ends quickly though the network to the database has fallen silent", async () => {
      const way = await createRoute(database.url);
      await way.open();
      const server = await startGreyProcess({ DATABASE_URL: way.url });
      const grey = connect(server.address);
      const made = await openWallets(grey);
      await grey.transactions.transfer(transfer(made));
      way.silence();
      const started = Date.now();
      server.signal("SIGTERM");
      expect(await server.ended).to.include({ code: 0, signal: null });
      expect(Date.now() - started).to.be.below(15_000);
      grey.close();
      await way.cut();
    });

    async function waiting(): Promise<number> {
      const { rowCount } = await admin.query(
        `SELECT 1 FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'grey%' AND wait_event_type = 'Lock'`,
      );
      return rowCount ?? 0;
    }
  });
});

async function assertSecondSignalEndsStreams(settings: Readonly<Record<string, string>>): Promise<void> {
  const server = await startGreyProcess({ ...settings, GREY_DRAIN_MS: "60000", GREY_WATCH_PROGRESS_MS: "50" });
  const client = new TransactionServiceClient(server.address, credentials.createInsecure());
  try {
    const watches = await Promise.all(
      Array.from({ length: 20 }, () => follow(client.watchTransactions(WatchTransactionsRequest.fromPartial({})))),
    );
    server.signal("SIGTERM");
    await server.line("stopping");
    server.signal("SIGTERM");
    for (const { ended } of watches) expect(await ended).to.include({ code: "UNAVAILABLE", reason: "SHUTTING_DOWN" });
    expect(await server.ended).to.include({ code: 1, signal: null });
  } finally {
    client.close();
  }
}

async function openWallets(grey: Clients): Promise<{ from: string; to: string }> {
  const made = await grey.users.createUser(user());
  const open = async (): Promise<string> => {
    const answer = await grey.wallets.createWallet({
      requestId: randomUUID(),
      userId: made.user!.id,
      currencyCode: "USD",
      label: "",
      metadata: {},
      initialBalance: { currencyCode: "USD", minorUnits: 100n },
    });
    return answer.wallet!.id;
  };
  return { from: await open(), to: await open() };
}

function transfer({ from, to }: { from: string; to: string }) {
  return {
    requestId: randomUUID(),
    fromWalletId: from,
    toWalletId: to,
    amount: { currencyCode: "USD", minorUnits: 1n },
    description: "",
    metadata: {},
    effectiveTime: undefined,
  };
}

function user() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
