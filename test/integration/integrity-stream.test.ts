import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import type pg from "pg";
import {
  IntegrityLaw,
  type StreamIntegrityCheckRequest,
  type StreamIntegrityCheckResponse,
} from "../../generated/grey/ledger/v1/integrity.js";
import { LedgerServiceClient } from "../../generated/grey/ledger/v1/ledger_service.js";
import { countQuery, lawQuery } from "../../src/ledger/check/check.js";
import { LAWS, type LawName } from "../../src/ledger/check/laws.js";
import { findScope } from "../../src/ledger/check/scope.js";
import { populate, transactionCount } from "../bench/populate.js";
import { connect, type Clients } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { depositRequest, makeWallet, openAdmin, transferRequest } from "../support/ledger.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";
import { follow, type Watch } from "../support/watch.js";

type From = StreamIntegrityCheckRequest["from"];

const SINCE_LAST: From = { $case: "sinceLast", value: true };

describe("a streamed integrity check", function () {
  this.timeout(60_000);

  let server: TestServer;
  let grey: Clients;
  let ledger: LedgerServiceClient;
  let database: TestDatabase;
  let admin: pg.Client;
  /** Holds the lock that a check waits for. */
  let locker: pg.Client;

  beforeEach(async () => {
    database = await createTestDatabase();
    server = await startServer({ DATABASE_URL: database.url, GREY_WATCH_PROGRESS_MS: "50" });
    grey = connect(server.address);
    ledger = new LedgerServiceClient(server.address, credentials.createInsecure());
    admin = await openAdmin(database.url);
    locker = await openAdmin(database.url);
  });
  afterEach(async () => {
    ledger.close();
    grey.close();
    await locker.end();
    await admin.end();
    await server.stop();
    await database.drop();
  });

  function open(from?: From): Promise<Watch<StreamIntegrityCheckResponse>> {
    return follow(ledger.streamIntegrityCheck({ maxFaults: 0, from }));
  }

  async function check(from?: From): Promise<readonly StreamIntegrityCheckResponse[]> {
    const watch = await open(from);
    expect(await watch.ended).to.equal(undefined);
    return watch.messages;
  }

  async function last(from?: From): Promise<StreamIntegrityCheckResponse> {
    return (await check(from)).at(-1)!;
  }

  /** Counts the sessions of the service in which a check is running. */
  async function countRunningChecks(): Promise<bigint> {
    const { rows } = await admin.query<{ count: bigint }>(
      `SELECT count(*) FROM pg_stat_activity
       WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%AS entries%'`,
    );
    return rows[0]!.count;
  }

  async function journalSize(): Promise<bigint> {
    return (await admin.query<{ size: bigint }>("SELECT size FROM journal_head")).rows[0]!.size;
  }

  it("reports its progress, and ends with the report that CheckIntegrity returns", async () => {
    const [from, to] = [await makeWallet(grey, { minorUnits: 100n }), await makeWallet(grey)];
    await grey.transactions.transfer(transferRequest(from.id, to.id, 1n));
    const messages = await check();
    const end = messages.at(-1)!;
    expect(end.report).to.deep.equal(await grey.ledger.checkIntegrity({ maxFaults: 0 }));
    expect(end.report!.ok).to.equal(true);
    expect(end).to.include({ law: IntegrityLaw.UNSPECIFIED, fromJournalIndex: 0n, journalSize: await journalSize() });
    expect([end.lawsDone, end.rowsRead]).to.deep.equal([end.lawsTotal, end.rowsTotal]);
    expect(end.rowsTotal > 0n).to.equal(true);
    expect(messages.filter(({ report }) => report !== undefined)).to.have.lengthOf(1);
    for (const [index, message] of messages.slice(1).entries()) {
      const { lawsDone, rowsRead } = messages[index]!;
      expect(message.lawsDone >= lawsDone && message.rowsRead >= rowsRead, `message ${index + 1}`).to.equal(true);
    }
  });

  it("reports while a law is running, and cancels its statement when the client leaves", async () => {
    await locker.query("BEGIN");
    await locker.query("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE");
    const watch = await open();
    await watch.until("three messages", (all) => all.length >= 3);
    await eventually("the check waits for the lock", async () => (await countRunningChecks()) === 1n);
    watch.cancel();
    await eventually("no check is running", async () => (await countRunningChecks()) === 0n);
    await locker.query("ROLLBACK");
    const { rows } = await admin.query("SELECT FROM integrity_checks");
    expect(rows, "a cancelled check is not recorded").to.have.lengthOf(0);
    expect((await last()).report!.ok).to.equal(true);
  });

  it("ends when the server stops", async () => {
    await locker.query("BEGIN");
    await locker.query("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE");
    const watch = await open();
    await eventually("the check waits for the lock", async () => (await countRunningChecks()) === 1n);
    const stopped = server.stop();
    expect(await watch.ended).to.include({ code: "UNAVAILABLE", reason: "SHUTTING_DOWN" });
    await eventually("no check is running", async () => (await countRunningChecks()) === 0n);
    await locker.query("ROLLBACK");
    await stopped;
  });

  it("since the last continues where all checks before have left off, of any kind and by any server", async () => {
    const wallet = await makeWallet(grey, { minorUnits: 100n });
    const first = await last(SINCE_LAST);
    expect(first.fromJournalIndex, "nothing was checked yet").to.equal(0n);
    await grey.transactions.deposit(depositRequest(wallet.id, 1n));
    const second = await last(SINCE_LAST);
    expect(second.fromJournalIndex).to.equal(first.journalSize);
    expect(second.report).to.include({
      ok: true,
      recordCount: 1n,
      transactionCount: 1n,
      entryCount: 2n,
      accountCount: 2n,
    });
    await grey.transactions.deposit(depositRequest(wallet.id, 1n));
    await grey.transactions.deposit(depositRequest(wallet.id, 1n));
    // This check leaves a gap.
    await last({ $case: "fromJournalIndex", value: (await journalSize()) - 1n });
    expect((await last(SINCE_LAST)).fromJournalIndex).to.equal(second.journalSize);
    await grey.transactions.deposit(depositRequest(wallet.id, 1n));
    const { recordCount } = await grey.ledger.checkIntegrity({ maxFaults: 0 });
    expect((await last(SINCE_LAST)).fromJournalIndex).to.equal(recordCount);
    expect((await last({ $case: "sinceLast", value: false })).fromJournalIndex).to.equal(0n);
  });

  it("from any place may be the first of all, and leaves the records before it to the next", async () => {
    await makeWallet(grey, { minorUnits: 100n });
    const { fromJournalIndex, report } = await last({ $case: "fromJournalIndex", value: 1n });
    expect([fromJournalIndex, report!.ok]).to.deep.equal([1n, true]);
    expect((await last(SINCE_LAST)).fromJournalIndex).to.equal(0n);
    expect((await last(SINCE_LAST)).fromJournalIndex).to.equal(await journalSize());
  });

  it("since the last checks the whole ledger after a fault, until none is left", async () => {
    await makeWallet(grey, { minorUnits: 100n });
    await last();
    const wallet = await makeWallet(grey, { minorUnits: 100n });
    await admin.query("UPDATE entries SET balance_after = balance_after + 1 WHERE account_id = $1", [wallet.id]);
    const news = await last(SINCE_LAST);
    expect(news.fromJournalIndex > 0n && !news.report!.ok).to.equal(true);
    for (const expected of [false, false]) {
      const { fromJournalIndex, report } = await last(SINCE_LAST);
      expect([fromJournalIndex, report!.ok]).to.deep.equal([0n, expected]);
    }
    await admin.query("UPDATE entries SET balance_after = balance_after - 1 WHERE account_id = $1", [wallet.id]);
    expect((await last(SINCE_LAST)).report!.ok).to.equal(true);
    expect((await last(SINCE_LAST)).fromJournalIndex).to.equal(await journalSize());
  });
});

describe("a check of what is new in a large ledger", function () {
  this.timeout(180_000);

  const BOOKS = { wallets: 20_000, rounds: 12, deepTransfers: 20_000 };
  let database: TestDatabase;
  let server: TestServer;
  let grey: Clients;
  let admin: pg.Client;

  before(async () => {
    database = await createTestDatabase();
    await populate(database.url, BOOKS);
    server = await startServer({ DATABASE_URL: database.url });
    grey = connect(server.address);
    admin = await openAdmin(database.url);
  });
  after(async () => {
    grey.close();
    await admin.end();
    await server.stop();
    await database.drop();
  });

  it("finds rows by keys, and reads no whole table", async () => {
    const size = BigInt(transactionCount(BOOKS));
    const [from, to] = [await makeWallet(grey, { minorUnits: 100n }), await makeWallet(grey)];
    for (let n = 0; n < 20; n += 1) await grey.transactions.transfer(transferRequest(from.id, to.id, 1n));
    const scope = await findScope(admin, size);
    const pages = await admin.query<{ pages: bigint }>(
      "SELECT sum(relpages)::bigint AS pages FROM pg_class WHERE relname IN ('entries', 'transactions', 'requests')",
    );
    expect(pages.rows[0]!.pages > 5_000n, "the ledger is large").to.equal(true);
    let blocks = 0;
    const laws = Object.keys(LAWS) as LawName[];
    const queries = laws.map((law) => [law, lawQuery(law, scope, 100)] as const);
    for (const [what, query] of [["the counts", countQuery(scope)], ...queries] as const) {
      const plan = await planOf(query);
      expect(scansOf(plan), what).to.deep.equal([]);
      blocks += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
    }
    // 21 transactions, 42 entries, and 3 accounts, one of which has 20,000 older entries, in which a binary search finds the first new one.
    expect(blocks / queries.length).to.be.lessThan(1_000);
  });

  interface Plan {
    readonly "Node Type": string;
    readonly "Relation Name"?: string;
    readonly "Shared Hit Blocks": number;
    readonly "Shared Read Blocks": number;
    readonly Plans?: readonly Plan[];
  }

  async function planOf({ text, values }: pg.QueryConfig): Promise<Plan> {
    // As in the sessions of the service.
    await admin.query("SET plan_cache_mode = force_generic_plan");
    const { rows } = await admin.query<{ "QUERY PLAN": readonly [{ readonly Plan: Plan }] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`,
      values,
    );
    return rows[0]!["QUERY PLAN"][0].Plan;
  }

  /** Returns the large tables that the plan reads as a whole. */
  function scansOf(plan: Plan): string[] {
    const table = plan["Relation Name"] ?? "";
    const isWhole =
      plan["Node Type"] === "Seq Scan" && ["entries", "transactions", "requests", "accounts"].includes(table);
    return [...(isWhole ? [table] : []), ...(plan.Plans ?? []).flatMap(scansOf)];
  }
});
