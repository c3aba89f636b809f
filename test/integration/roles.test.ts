import { expect } from "chai";
import pg from "pg";
import { readConfig } from "../../src/config/config.js";
import { connectDatabase } from "../../src/db/database.js";
import { connect, type Clients } from "../support/client.js";
import { makeUser, makeWallet, openAdmin, transferRequest } from "../support/ledger.js";
import { startServer, type TestServer } from "../support/server.js";

const INSUFFICIENT_PRIVILEGE = "42501";

/** The columns that the service may update, by table; it may update no others. */
const MAY_UPDATE: Readonly<Record<string, readonly string[] | "all">> = {
  users: "all",
  wallets: "all",
  accounts: ["state", "min_balance", "max_balance", "velocity_limits"],
  journal_head: "all",
  holds: ["amount", "captured", "state", "expire_time", "update_time", "revision"],
  velocity_usage: ["amount", "count"],
  currencies: ["default_limits"],
  requests: ["transaction_id", "resource_id", "other_user_id", "request", "response", "failure", "journal_index"],
  schedules: ["state", "planned_time", "due_time", "attempt", "tries", "run_count", "failure", "update_time"],
  schedule_runs: ["state", "attempts", "request_id", "transaction_id", "failure", "update_time"],
  balance_alerts: ["end_index", "delete_time"],
  reader_cursors: ["next_index"],
  posting_lease: ["address", "build", "token", "expire_time"],
};
const MAY_INSERT = [
  "currencies",
  "users",
  "wallets",
  "accounts",
  "transactions",
  "holds",
  "entries",
  "metadata_changes",
  "requests",
  "journal_batches",
  "rejected_legs",
  "velocity_usage",
  "limit_changes",
  "rates",
  "schedules",
  "schedule_runs",
  "balance_alerts",
  "balance_alert_events",
  "integrity_checks",
  "posting_lease",
];

/** The tables that the service may delete from: usage that no window reaches any more. */
const MAY_DELETE = ["velocity_usage"];

describe("the service's database role", () => {
  let server: TestServer;
  let clients: Clients;
  let admin: pg.Client;
  /** A session with the role of the service. */
  let service: pg.Client;
  let columns: { readonly table: string; readonly column: string }[];
  let tables: string[];

  before(async () => {
    server = await startServer();
    clients = connect(server.address);
    admin = await openAdmin(server.databaseUrl);
    service = new pg.Client({ connectionString: server.databaseUrl, options: "-c role=grey_service" });
    await service.connect();
    const { rows } = await admin.query<{ table: string; column: string }>(
      `SELECT table_name AS table, column_name AS column FROM information_schema.columns
       JOIN information_schema.tables USING (table_schema, table_name)
       WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY table_name, ordinal_position`,
    );
    columns = rows;
    tables = [...new Set(rows.map((row) => row.table))];
    const [from, to] = [await makeWallet(clients, { minorUnits: 10n }), await makeWallet(clients)];
    await clients.transactions.transfer(transferRequest(from.id, to.id, 1n));
    await makeUser(clients);
  });
  after(async () => {
    clients.close();
    await service.end();
    await admin.end();
    await server.stop();
  });

  /** Returns the SQLSTATE of the statement's error; undefined if it succeeded. */
  async function stateOf(statement: string): Promise<string | undefined> {
    await service.query("BEGIN");
    try {
      await service.query(statement);
      return undefined;
    } catch (error) {
      return (error as { code?: string }).code;
    } finally {
      await service.query("ROLLBACK");
    }
  }

  /** Returns the statements that lack a privilege. None of them would change the meaning of a row. */
  async function deniedFor(statements: readonly string[]): Promise<string[]> {
    const denied: string[] = [];
    for (const statement of statements) {
      if ((await stateOf(statement)) === INSUFFICIENT_PRIVILEGE) denied.push(statement);
    }
    return denied;
  }

  it("is the one that the service assumes in its sessions", async () => {
    const { dataSource, pool } = await connectDatabase(
      server.databaseUrl,
      readConfig({ DATABASE_URL: server.databaseUrl }),
    );
    const { rows } = await pool.query<{ role: string }>("SELECT current_user AS role");
    await dataSource.destroy();
    expect(rows).to.deep.equal([{ role: "grey_service" }]);
    expect((await service.query("SELECT current_user AS role")).rows).to.deep.equal([{ role: "grey_service" }]);
  });

  it("is tested with tables that exist", () => {
    expect(tables).to.include.members([...Object.keys(MAY_UPDATE), ...MAY_INSERT]);
    expect(tables).to.include("migrations");
  });

  it("deletes from no table that holds the books and truncates none", async () => {
    const statements = tables.flatMap((table) => [`DELETE FROM ${table}`, `TRUNCATE ${table}`]);
    const allowed = MAY_DELETE.map((table) => `DELETE FROM ${table}`);
    expect(await deniedFor(statements)).to.deep.equal(statements.filter((statement) => !allowed.includes(statement)));
  });

  it("updates no column of entries, transactions, journal batches and request keys, and no other that it need not", async () => {
    const statements = columns
      .filter(({ table, column }) => MAY_UPDATE[table] !== "all" && !MAY_UPDATE[table]?.includes(column))
      .map(({ table, column }) => `UPDATE ${table} SET ${column} = ${column}`);
    expect(statements).to.include.members([
      "UPDATE entries SET amount = amount",
      "UPDATE entries SET balance_after = balance_after",
      "UPDATE transactions SET state = state",
      "UPDATE journal_batches SET record_ids = record_ids",
      "UPDATE requests SET request_id = request_id",
      "UPDATE requests SET caller = caller",
      "UPDATE installation SET secret = secret",
      "UPDATE currencies SET exponent = exponent",
    ]);
    expect(await deniedFor(statements)).to.deep.equal(statements);
  });

  it("updates the columns that the service maintains, so the test of the others can fail", async () => {
    const statements = columns
      .filter(({ table, column }) => MAY_UPDATE[table] === "all" || MAY_UPDATE[table]?.includes(column))
      .map(({ table, column }) => `UPDATE ${table} SET ${column} = ${column}`);
    expect(await deniedFor(statements)).to.deep.equal([]);
  });

  it("inserts into the tables of the books only", async () => {
    const insertable: string[] = [];
    for (const table of tables) {
      // Without values the statement fails otherwise, or not at all, once the privilege is there.
      if ((await stateOf(`INSERT INTO ${table} DEFAULT VALUES`)) !== INSUFFICIENT_PRIVILEGE) insertable.push(table);
    }
    expect(insertable).to.deep.equal(MAY_INSERT.toSorted());
  });

  it("changes no schema, and reads no other file or role", async () => {
    const statements = [
      "DROP TABLE entries",
      "ALTER TABLE entries DISABLE TRIGGER ALL",
      "ALTER TABLE accounts DROP CONSTRAINT accounts_min_balance",
      "CREATE TABLE public.mine (id int)",
      "CREATE OR REPLACE FUNCTION public.entry_sequence_before_index(p_account uuid, p_index bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
      "COPY entries TO '/tmp/entries'",
      "SELECT rolpassword FROM pg_authid",
      "CREATE ROLE mine",
      "SET session_replication_role = replica",
    ];
    expect(await deniedFor(statements)).to.deep.equal(statements);
  });
});
