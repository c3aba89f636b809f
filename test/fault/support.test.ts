import { expect } from "chai";
import { connect } from "node:net";
import pg from "pg";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { connect as connectClients, type Clients } from "../support/client.js";
import { everyNth, makesWriteLast, startFaultProxy, type FaultProxy, type Statement } from "../support/fault-proxy.js";
import { findViolations } from "../support/invariants.js";
import { sendOnce, ClientJournal, makeDeposit, openWallets, makeTransfer } from "../support/load.js";
import { startServer, type TestServer } from "../support/server.js";

describe("the fault proxy", () => {
  let database: TestDatabase;
  let proxy: FaultProxy;
  const clients: pg.Client[] = [];

  before(async () => {
    database = await createTestDatabase();
    proxy = await startFaultProxy(database.url);
    await direct("CREATE TABLE marks (mark text PRIMARY KEY)");
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.end().catch(() => undefined);
  });
  after(async () => {
    await proxy.stop();
    await database.drop();
  });

  async function open(url = proxy.url): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 500 });
    client.on("error", () => undefined);
    clients.push(client);
    await client.connect();
    return client;
  }

  async function direct(sql: string): Promise<string[]> {
    const client = await open(database.url);
    return (await client.query<{ mark: string }>(sql)).rows.map(({ mark }) => mark);
  }

  const marks = () => direct("SELECT mark FROM marks ORDER BY mark");

  async function write(mark: string): Promise<"WRITTEN" | "CUT"> {
    const client = await open();
    try {
      await client.query("BEGIN");
      await client.query({ name: "write", text: "INSERT INTO marks VALUES ($1)", values: [mark] });
      await client.query("COMMIT");
      return "WRITTEN";
    } catch {
      return "CUT";
    }
  }

  it("passes statements and rows on unchanged", async () => {
    const client = await open();
    const text = "ä".repeat(100_000);
    expect((await client.query("SELECT $1::text AS text, 7 AS n", [text])).rows).to.deep.equal([{ text, n: 7 }]);
  });

  it("lets a COMMIT through and loses its reply", async () => {
    const trap = proxy.trap(makesWriteLast, "LOSE_REPLY");
    expect(await write("lost reply")).to.equal("CUT");
    await trap.sprung;
    expect(await marks()).to.include("lost reply");
    expect(await write("after the lost reply")).to.equal("WRITTEN");
  });

  it("resets before a COMMIT reaches PostgreSQL", async () => {
    const trap = proxy.trap(makesWriteLast, "RESET_BEFORE");
    expect(await write("reset")).to.equal("CUT");
    await trap.sprung;
    expect(await marks()).not.to.include("reset");
  });

  it("holds a zombie's COMMIT until its release", async () => {
    const trap = proxy.trap(makesWriteLast, "ZOMBIE");
    expect(await write("zombie")).to.equal("CUT");
    await trap.sprung;
    expect(await marks()).not.to.include("zombie");
    await trap.release();
    expect(await marks()).to.include("zombie");
  });

  it("holds an extended statement that commits by itself, with its Sync", async () => {
    const trap = proxy.trap(({ sql }) => sql.startsWith("INSERT"), "ZOMBIE");
    const client = await open();
    const outcome = client.query({ name: "one", text: "INSERT INTO marks VALUES ($1)", values: ["alone"] });
    expect(await outcome.catch(() => "CUT")).to.equal("CUT");
    expect(await marks()).not.to.include("alone");
    await trap.release();
    expect(await marks()).to.include("alone");
  });

  it("loses a later reply on request", async () => {
    const trap = proxy.trap(({ sql }) => sql === "BEGIN", "LOSE_REPLY", { reply: 3 });
    expect(await write("third reply")).to.equal("CUT");
    await trap.sprung;
    expect(await marks()).to.include("third reply");
  });

  it("recognises a statement in any chunks", async () => {
    let seen = "";
    proxy.trap(({ sql }) => ((seen = sql), sql === "SELECT 'ä' AS mark"), "RESET_BEFORE");
    const startup = Buffer.from("user\0postgres\0database\0grey\0\0");
    const query = Buffer.from("SELECT 'ä' AS mark\0");
    const head = Buffer.alloc(8);
    head.writeInt32BE(startup.length + 8, 0);
    head.writeInt32BE(3 << 16, 4);
    const queryHead = Buffer.from("Q0000");
    queryHead.writeInt32BE(query.length + 4, 1);
    const socket = connect(Number(new URL(proxy.url).port), "127.0.0.1").setNoDelay(true);
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("error", () => undefined).resume();
    for (const byte of Buffer.concat([head, startup, queryHead, query])) {
      if (socket.destroyed) break;
      await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
    }
    await closed;
    expect(seen).to.equal("SELECT 'ä' AS mark");
  });

  it("drops everything as a black hole, and forwards everything when it thaws", async () => {
    const client = await open();
    proxy.blackHole();
    let isAnswered = false;
    const answer = client.query("SELECT 1").then(() => (isAnswered = true));
    const refused = await open().then(
      () => "connected",
      () => "timed out",
    );
    expect(refused).to.equal("timed out");
    expect(isAnswered).to.equal(false);
    proxy.thaw();
    expect(await answer).to.equal(true);
  });

  it("refuses connections, and accepts them again on the same port", async () => {
    const client = await open();
    await proxy.refuse();
    expect(await client.query("SELECT 1").catch(() => "CUT")).to.equal("CUT");
    expect(await open().catch((error: { code: string }) => error.code)).to.equal("ECONNREFUSED");
    await proxy.accept();
    expect(await write("accepted")).to.equal("WRITTEN");
  });

  it("delays each way", async () => {
    const client = await open();
    proxy.setLatencyMs(60);
    const started = performance.now();
    await client.query("SELECT 1");
    proxy.setLatencyMs(0);
    expect(performance.now() - started).to.be.within(115, 1_000);
  });

  const lasting: readonly (readonly [boolean, Statement])[] = [
    [true, { sql: "COMMIT", isInTransaction: true, hasWritten: true }],
    [true, { sql: "INSERT INTO a VALUES (1); COMMIT", isInTransaction: true, hasWritten: true }],
    [true, { sql: "WITH a AS (INSERT INTO b VALUES (1)) SELECT 1", isInTransaction: false, hasWritten: false }],
    [true, { sql: "SELECT * FROM post_batch($1)", isInTransaction: false, hasWritten: false }],
    [false, { sql: "COMMIT", isInTransaction: true, hasWritten: false }],
    [false, { sql: "INSERT INTO a VALUES (1)", isInTransaction: true, hasWritten: false }],
    [false, { sql: "SELECT 1 FROM a FOR UPDATE", isInTransaction: false, hasWritten: false }],
    [false, { sql: "SELECT 1 FROM a FOR NO KEY UPDATE", isInTransaction: false, hasWritten: false }],
    [false, { sql: "START TRANSACTION", isInTransaction: false, hasWritten: false }],
  ];
  for (const [expected, statement] of lasting) {
    it(`${expected ? "recognises" : "does not recognise"} ${JSON.stringify(statement)} as a commit of a write`, () => {
      expect(makesWriteLast(statement)).to.equal(expected);
    });
  }

  it("counts only matching statements towards every n-th", () => {
    const matches = everyNth(2, ({ sql }) => sql === "a");
    const of = (sql: string) => matches({ sql, isInTransaction: false, hasWritten: false });
    expect(["a", "b", "a", "b", "a", "a"].map(of)).to.deep.equal([false, false, true, false, false, true]);
  });
});

describe("the invariants", () => {
  const TABLES = ["transactions", "entries", "accounts"] as const;
  const journal = new ClientJournal();
  let server: TestServer;
  let clients: Clients;
  let admin: pg.Client;
  let walletA: string;
  let walletB: string;

  before(async () => {
    server = await startServer();
    clients = connectClients(server.address);
    [walletA = "", walletB = ""] = await openWallets(clients, journal, 2, 1_000n);
    expect((await sendOnce(clients, journal, makeTransfer(walletA, walletB, 10n), 5_000))?.refusal).to.equal(undefined);
    expect((await sendOnce(clients, journal, makeTransfer(walletB, walletA, 9_999n), 5_000))?.refusal).to.equal(
      "INSUFFICIENT_FUNDS",
    );
    expect((await sendOnce(clients, journal, makeDeposit(walletB, 7n), 5_000))?.refusal).to.equal(undefined);
    admin = new pg.Client({ connectionString: server.databaseUrl });
    await admin.connect();
    for (const table of TABLES) await admin.query(`CREATE TABLE true_${table} AS TABLE ${table}`);
  });
  afterEach(async () => {
    for (const table of TABLES) await admin.query(`TRUNCATE ${table}; INSERT INTO ${table} TABLE true_${table}`);
  });
  after(async () => {
    await admin.end();
    clients.close();
    await server.stop();
  });

  const THE_TRANSFER = "(SELECT id FROM transactions WHERE kind = 4 AND state = 1)";
  const IS_LATEST = "sequence = (SELECT sequence FROM account_states WHERE id = account_id)";
  const tampered: readonly (readonly [what: string, sql: string, letters: readonly string[]])[] = [
    [
      "the credit of a transfer",
      `UPDATE entries SET amount = amount - 1 WHERE amount < 0 AND transaction_id = ${THE_TRANSFER}`,
      ["B", "C", "D"],
    ],
    [
      "another balance",
      `UPDATE entries SET balance_after = balance_after + 1 WHERE account_id = $1 AND ${IS_LATEST}`,
      ["B", "C"],
    ],
    [
      "both balances of a transfer",
      `UPDATE entries SET balance_after = balance_after + CASE WHEN account_id = $1 THEN 1 ELSE -1 END WHERE account_id IN ($1, $2) AND ${IS_LATEST}`,
      ["B"],
    ],
    [
      "an acknowledged transfer out of the books",
      `WITH lost AS (DELETE FROM entries WHERE transaction_id = ${THE_TRANSFER}) DELETE FROM transactions WHERE id = ${THE_TRANSFER}`,
      ["B", "C", "D"],
    ],
    [
      "a second transaction for one request",
      `INSERT INTO transactions SELECT (jsonb_populate_record(t, '{"id": "00000000-0000-7000-8000-00000000beef"}')).* FROM transactions t WHERE id = ${THE_TRANSFER}`,
      ["U"],
    ],
    ["another request id to a transaction", "UPDATE transactions SET request_id = id WHERE kind = 2", ["D", "U"]],
    [
      "an entry of a refused transfer",
      `INSERT INTO entries SELECT $1, 99, t.id, t.journal_index, d, 0, t.create_time FROM transactions t, (VALUES (5), (-5)) v (d) WHERE t.state = 2 LIMIT 1`,
      ["B", "C", "J"],
    ],
  ];
  for (const [what, sql, letters] of tampered) {
    it(`hold, and report ${letters.join(" and ")} as violated after a manual write of ${what}`, async () => {
      expect(await findViolations(server.databaseUrl, journal, clients.ledger)).to.deep.equal([]);
      const used = Math.max(0, ...[...sql.matchAll(/\$(\d)/g)].map((match) => Number(match[1])));
      await admin.query(sql, [walletA, walletB].slice(0, used));
      const violations = await findViolations(server.databaseUrl, journal, clients.ledger);
      const found = [...new Set(violations.map((text) => text.split(" ")[0]))].sort();
      expect(found, violations.join("\n")).to.deep.equal([...letters, "INTEGRITY"].sort());
    });
  }
});
