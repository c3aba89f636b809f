import { randomUUID } from "node:crypto";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import { readConfig } from "../../src/config/config.js";
import { startEmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import { migrate } from "../../src/db/migrate.js";
import { connect } from "../support/client.js";
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { openAdmin } from "../support/ledger.js";
import {
  endAllGrey,
  eventually,
  isAlive,
  makeFolder,
  postmasterPid,
  runGrey,
  startGreyProcess,
} from "../support/process.js";

const WRONGLY_SET = 2;

describe("a start of the server", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createTestDatabase();
  });
  after(async () => {
    await endAllGrey();
    await database.drop();
  });

  describe("with its own PostgreSQL", () => {
    let folder: Awaited<ReturnType<typeof makeFolder>>;
    let dataDir: string;

    before(async () => {
      folder = await makeFolder();
      dataDir = join(folder.path, "data of grey");
    });
    afterEach(() => endAllGrey());
    after(() => folder.remove());

    it("creates the data folder, under a path with a space, logs its location, and serves", async () => {
      const server = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      expect(server.logs.find((line) => line.message === "serving")).to.include({
        address: server.address,
        data: dataDir,
      });
      expect(server.address).to.match(/^127\.0\.0\.1:\d+$/);
      const grey = connect(server.address);
      expect((await grey.users.listUsers({ pageSize: 0, pageToken: "" })).users).to.deep.equal([]);
      grey.close();
      server.signal("SIGTERM");
      expect(await server.ended).to.include({ code: 0 });
    });

    it("after a kill -9 of the server alone finds its data, and the PostgreSQL that was left behind is replaced", async () => {
      const first = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      const grey = connect(first.address);
      const { user } = await grey.users.createUser(ada());
      grey.close();
      const orphan = await postmasterPid(dataDir);
      first.signal("SIGKILL");
      await first.ended;
      expect(isAlive(orphan)).to.equal(true);

      const second = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      expect(isAlive(orphan)).to.equal(false);
      const again = connect(second.address);
      const found = await again.users.getUser({ by: { $case: "id", value: user!.id } });
      expect(found.user).to.deep.equal(user);
      expect((await again.ledger.checkIntegrity({ maxFaults: 0 })).ok).to.equal(true);
      again.close();
      second.signal("SIGTERM");
      await second.ended;
    });

    it("after a kill -9 of server and PostgreSQL recovers what was answered", async () => {
      const first = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      const grey = connect(first.address);
      const { user } = await grey.users.createUser(ada());
      grey.close();
      const postmaster = await postmasterPid(dataDir);
      first.signal("SIGKILL");
      process.kill(postmaster, "SIGKILL");
      await first.ended;
      await eventually("the end of PostgreSQL", () => !isAlive(postmaster));

      const second = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      const again = connect(second.address);
      const found = await again.users.getUser({ by: { $case: "id", value: user!.id } });
      expect(found.user).to.deep.equal(user);
      again.close();
      second.signal("SIGTERM");
      await second.ended;
    });

    it("of a second copy on the same data is refused and names GREY_DATA_DIR, and the first continues to serve", async () => {
      const first = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      const { code, err } = await runGrey({ GREY_DATA_DIR: dataDir });
      expect(code).to.equal(WRONGLY_SET);
      expect(err).to.match(/^grey: GREY_DATA_DIR: .*another Grey \(pid \d+\)/);
      expect(err).to.include(`${first.pid}`);
      expectOneMessage(err);
      const grey = connect(first.address);
      await grey.users.createUser(ada());
      grey.close();
      first.signal("SIGTERM");
      expect(await first.ended).to.include({ code: 0 });
    });

    it("on the data of another version is refused, names the folder, and leaves the data as they are", async () => {
      const embedded = await startEmbeddedPostgres({ dataDir, port: 0 });
      const admin = await openAdmin(embedded.ownerUrl);
      await admin.query("INSERT INTO migrations (timestamp, name) VALUES (1764000000000, 'Books1764000000000')");
      await admin.end();
      await embedded.stop();
      for (const settings of [{}, { GREY_MIGRATE_ON_START: "false" }]) {
        const { code, err } = await runGrey({ GREY_DATA_DIR: dataDir, ...settings });
        expect(code).to.equal(WRONGLY_SET);
        expect(err).to.match(/^grey: GREY_DATA_DIR: the database in .* holds the ledger of an earlier version of Grey/);
        expect(err).to.include(`nothing was changed; move the folder ${dataDir} away to begin with an empty ledger`);
        expectOneMessage(err);
      }
      for (const options of [{}, { check: true }, { revert: true }]) {
        const migrating = migrate(readConfig({ GREY_DATA_DIR: dataDir }), { ...options, onProgress: () => undefined });
        expect(await migrating.catch(String)).to.include(`; nothing was changed; move the folder ${dataDir} away`);
      }
      const again = await startEmbeddedPostgres({ dataDir, port: 0 });
      const reader = await openAdmin(again.ownerUrl);
      await reader.query("DELETE FROM migrations WHERE name = 'Books1764000000000'");
      await reader.end();
      await again.stop();
      const server = await startGreyProcess({ GREY_DATA_DIR: dataDir });
      const grey = connect(server.address);
      expect((await grey.users.listUsers({ pageSize: 0, pageToken: "" })).users, "those of before").not.to.deep.equal(
        [],
      );
      grey.close();
      server.signal("SIGTERM");
      await server.ended;
    });

    it("on a folder that is a file is refused and names GREY_DATA_DIR", async () => {
      const { code, err } = await runGrey({ GREY_DATA_DIR: "/dev/null" });
      expect(code).to.equal(WRONGLY_SET);
      expect(err).to.match(/^grey: GREY_DATA_DIR: /);
      expectOneMessage(err);
    });
  });

  describe("with DATABASE_URL", () => {
    it("brings an empty database up to date, and a second start finds nothing to do", async () => {
      const empty = await createEmptyDatabase();
      const first = await startGreyProcess({ DATABASE_URL: empty.url });
      expect(first.logs.filter((line) => line.message === "migrated")).not.to.deep.equal([]);
      first.signal("SIGTERM");
      await first.ended;
      const second = await startGreyProcess({ DATABASE_URL: empty.url });
      expect(second.logs.filter((line) => line.message === "migrated")).to.deep.equal([]);
      second.signal("SIGTERM");
      await second.ended;
      await empty.drop();
    });

    it("of two at once on an empty database lets both serve", async () => {
      const empty = await createEmptyDatabase();
      const both = await Promise.all([1, 2].map(() => startGreyProcess({ DATABASE_URL: empty.url })));
      for (const server of both) {
        const grey = connect(server.address);
        await grey.users.createUser(ada());
        grey.close();
        server.signal("SIGTERM");
        await server.ended;
      }
      await empty.drop();
    });

    it("of another version is refused and names DATABASE_URL", async () => {
      const other = await createTestDatabase();
      const admin = await openAdmin(other.url);
      await admin.query("INSERT INTO migrations (timestamp, name) VALUES (9000000000000, 'Later9000000000000')");
      await admin.end();
      const { code, err } = await runGrey({ DATABASE_URL: other.url });
      await other.drop();
      expect(code).to.equal(WRONGLY_SET);
      expect(err).to.match(/^grey: DATABASE_URL: .* holds the ledger of a newer version of Grey.*Later9000000000000/);
      expectOneMessage(err);
    });

    it("with a wrong password is refused, names DATABASE_URL and does not print the password", async () => {
      const url = new URL(database.url);
      url.password = "canary-password";
      const { code, err, out } = await runGrey({ DATABASE_URL: url.href });
      expect(code).to.equal(WRONGLY_SET);
      expect(err).to.match(/^grey: DATABASE_URL: /);
      expect(err + out).not.to.include("canary");
      expectOneMessage(err);
    });

    it("of a database that does not exist is refused and names DATABASE_URL", async () => {
      const url = new URL(database.url);
      url.pathname = "/no_such_database";
      const { code, err } = await runGrey({ DATABASE_URL: url.href });
      expect(code).to.equal(WRONGLY_SET);
      expect(err).to.match(/^grey: DATABASE_URL: .*no_such_database/);
      expectOneMessage(err);
    });
  });

  it("on a port that is in use is refused and names GREY_PORT", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const { code, err } = await runGrey({ DATABASE_URL: database.url, GREY_PORT: `${port}` });
    other.close();
    expect(code).to.equal(WRONGLY_SET);
    expect(err).to.match(new RegExp(`^grey: GREY_PORT: .*127\\.0\\.0\\.1:${port}.*in use`));
    expectOneMessage(err);
  });

  for (const [settings, message] of [
    [{ GREY_PROT: "50051" }, /^grey: GREY_PROT: unknown setting$/m],
    [{ GREY_PORT: "many" }, /^grey: GREY_PORT: /m],
    [{ GREY_PORT: "65536" }, /^grey: GREY_PORT: /m],
    [{ GREY_LOG_LEVEL: "loud" }, /^grey: GREY_LOG_LEVEL: /m],
    [{ DATABASE_URL: "mysql://localhost/grey" }, /^grey: DATABASE_URL: must be a postgres:\/\/ URL$/m],
    [{ GREY_HOST: "0.0.0.0" }, /^grey: GREY_HOST: 0\.0\.0\.0 is not loopback/m],
    [{ GREY_HOST: "::" }, /^grey: GREY_HOST: :: is not loopback/m],
    [{ GREY_HOST: "127.0.0.1.example.com" }, /^grey: GREY_HOST: /m],
    [{ GREY_HOST: "", GREY_DRAIN_MS: "-1" }, /^grey: GREY_DRAIN_MS: /m],
  ] as const) {
    it(`with ${JSON.stringify(settings)} is refused and names the setting`, async () => {
      const { code, err, out } = await runGrey({ DATABASE_URL: database.url, ...settings });
      expect(code).to.equal(WRONGLY_SET);
      expect(err).to.match(message);
      expect(out).to.equal("");
      expectOneMessage(err);
    });
  }

  it("on an address that is not loopback needs the setting whose name warns of it", async () => {
    const server = await startGreyProcess({
      DATABASE_URL: database.url,
      GREY_HOST: "0.0.0.0",
      GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true",
    });
    expect(server.address).to.match(/^0\.0\.0\.0:\d+$/);
    server.signal("SIGTERM");
    await server.ended;
  });

  it("names every setting that is wrong at once", async () => {
    const { err } = await runGrey({ GREY_PORT: "many", GREY_DRAIN_MS: "-1", GREY_PROT: "1" });
    const named = err
      .trim()
      .split("\n")
      .map((line) => line.split(":")[1]!.trim());
    expect(named).to.have.members(["GREY_PORT", "GREY_DRAIN_MS", "GREY_PROT"]);
  });
});

/** For the operator: lines that begin with the program's name, and no stack. */
function expectOneMessage(err: string): void {
  for (const line of err.trim().split("\n")) expect(line).to.match(/^grey: /);
  expect(err).not.to.match(/^ +at /m);
}

function ada() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
