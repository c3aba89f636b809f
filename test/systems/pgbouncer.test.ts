import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import pg from "pg";
import { PROJECT_DIR, readConfig } from "../../src/config/config.js";
import { assertOwnBackends, openSession, servicePlan } from "../../src/db/session.js";
import { connect } from "../support/client.js";
import { createEmptyDatabase, type TestDatabase } from "../support/cluster.js";
import { balanceOf, makeWallet, transferRequest } from "../support/ledger.js";
import { endAllGrey, freePort, makeFolder, runGrey, startGreyProcess } from "../support/process.js";

const SCRIPT = join(PROJECT_DIR, "scripts/systems/pgbouncer.sh");
const isHere = existsSync("/usr/sbin/pgbouncer");
const WRONGLY_SET = 2;

describe("PgBouncer in front of PostgreSQL", function () {
  let database: TestDatabase;
  let stops: (() => Promise<unknown>)[] = [];

  before(function () {
    if (!isHere && process.env.TEST_SYSTEMS_REQUIRED !== "1") this.skip();
  });
  beforeEach(async () => {
    database = await createEmptyDatabase();
  });
  afterEach(async () => {
    await endAllGrey();
    for (const stop of stops.toReversed()) await stop();
    stops = [];
    await database.drop();
  });

  /** Returns the database's URL through a PgBouncer in this mode. */
  async function pooled(mode: string, ...settings: readonly string[]): Promise<string> {
    const folder = await makeFolder();
    const url = new URL(database.url);
    await writeFile(join(folder.path, "users.txt"), `"${url.username}" "${decodeURIComponent(url.password)}"\n`);
    const port = await freePort();
    stops.push(async () => {
      await promisify(execFile)(SCRIPT, ["stop", folder.path]);
      await folder.remove();
    });
    await promisify(execFile)(SCRIPT, ["start", folder.path, `${port}`, url.port, mode, ...settings]);
    url.port = `${port}`;
    return url.href;
  }

  it("in session pooling: Grey migrates, posts, replays, checks, and each session has the service's role", async () => {
    const url = await pooled("session");
    const server = await startGreyProcess({ DATABASE_URL: url });
    const grey = connect(server.address);
    const [ada, bob] = [await makeWallet(grey, { minorUnits: 1_000n }), await makeWallet(grey, { minorUnits: 500n })];
    const request = transferRequest(ada.id, bob.id, 100n);
    const first = await grey.transactions.transfer(request);
    expect(await grey.transactions.transfer(request)).to.deep.equal({ ...first, replayed: true });
    await Promise.all(
      Array.from({ length: 200 }, () => grey.transactions.transfer(transferRequest(ada.id, bob.id, 1n))),
    );
    expect([await balanceOf(grey, ada.id), await balanceOf(grey, bob.id)]).to.deep.equal([700n, 800n]);
    expect((await grey.ledger.checkIntegrity({ maxFaults: 10 })).faults).to.deep.equal([]);
    grey.close();
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await openSession(client, servicePlan(readConfig({})));
    const denied = await client
      .query("UPDATE entries SET amount = amount")
      .catch((error: { code?: string }) => error.code);
    expect(denied).to.equal("42501");
    await client.end();
  });

  for (const [mode, ...settings] of [
    ["transaction"],
    ["transaction", "server_round_robin=1"],
    ["transaction", "default_pool_size=1"],
    ["transaction", "ignore_startup_parameters=options"],
    ["statement"],
  ] as const) {
    it(`in ${[mode, ...settings].join(", ")} pooling: Grey does not serve, and reports which pooling it needs`, async () => {
      const { code, err } = await runGrey({ DATABASE_URL: await pooled(mode, ...settings) });
      expect(err).to.match(/^grey: DATABASE_URL: .*(session pooling|statement pooling mode)/);
      expect(err.trim().split("\n").length).to.equal(1);
      expect(code).to.equal(WRONGLY_SET);
    });
  }

  it("is detected in transaction pooling by the connections alone, too", async () => {
    for (const settings of [[], ["server_round_robin=1"], ["default_pool_size=2"]]) {
      const pool = new pg.Pool({ connectionString: await pooled("transaction", ...settings), max: 3 });
      const error = await assertOwnBackends(pool).catch((caught: unknown) => caught);
      await pool.end();
      expect(error).to.have.property("name", "SessionError");
    }
    const pool = new pg.Pool({ connectionString: await pooled("session"), max: 3 });
    await assertOwnBackends(pool);
    await pool.end();
  });
});
