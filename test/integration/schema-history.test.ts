import { expect } from "chai";
import type pg from "pg";
import { readConfig, SettingError } from "../../src/config/config.js";
import { migrate } from "../../src/db/migrate.js";
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { openAdmin } from "../support/ledger.js";
import { startServer } from "../support/server.js";

/** Databases that this version cannot use: how each comes about, and what the refusal says of it. */
const KINDS: readonly {
  readonly title: string;
  readonly hasLedger: boolean;
  readonly make: string;
  readonly refusal: RegExp;
}[] = [
  {
    title: "an earlier version, whose migrations are gone",
    hasLedger: true,
    make: `UPDATE migrations SET timestamp = 1764000000000, name = 'Books1764000000000';
      INSERT INTO migrations (timestamp, name) VALUES (1764000100000, 'PostBatch1764000100000'), (1767100000000, 'AlertsByEnd1767100000000');
      REVOKE SELECT ON migrations FROM grey_service`,
    refusal: /holds the ledger of an earlier version of Grey.*or run the version that made it$/,
  },
  {
    title: "an earlier version, with one migration that this one lacks",
    hasLedger: true,
    make: "INSERT INTO migrations (timestamp, name) VALUES (1764000000000, 'Books1764000000000')",
    refusal: /holds the ledger of an earlier version of Grey.*\(found: Books1764000000000\)/,
  },
  {
    title: "a newer version, with one migration more",
    hasLedger: true,
    make: "INSERT INTO migrations (timestamp, name) VALUES (9000000000000, 'Later9000000000000')",
    refusal: /holds the ledger of a newer version of Grey.*\(found: Later9000000000000\).*`grey migrate --revert`$/,
  },
  {
    title: "a newer version, with other migrations only",
    hasLedger: true,
    make: `DELETE FROM migrations;
      INSERT INTO migrations (timestamp, name) VALUES (9000000000000, 'Later9000000000000')`,
    refusal: /holds the ledger of a newer version of Grey.*\(found: Later9000000000000\)/,
  },
  {
    title: "another program with a list of migrations like Grey's",
    hasLedger: false,
    make: `CREATE TABLE migrations (id serial PRIMARY KEY, timestamp bigint NOT NULL, name varchar NOT NULL);
      INSERT INTO migrations (timestamp, name) VALUES (1700000000000, 'CreateOrders1700000000000')`,
    refusal: /holds tables that Grey has not made.*\(found: migrations\)/,
  },
  {
    title: "another program with an empty list of migrations unlike Grey's",
    hasLedger: false,
    make: "CREATE TABLE migrations (id serial PRIMARY KEY, migration text NOT NULL, batch integer NOT NULL)",
    refusal: /holds tables that Grey has not made.*\(found: migrations\)/,
  },
  {
    title: "another program, with tables of names that Grey uses",
    hasLedger: false,
    make: "CREATE TABLE wallets (id integer); CREATE TABLE users (id integer)",
    refusal: /holds tables that Grey has not made.*\(found: users, wallets\)/,
  },
];

/** The ways to a database. The role of the first ones is one that nobody may make for a refused database. */
const NEW_ROLE = "role_of_a_refused_ledger";
const DOORS: Readonly<Record<string, (url: string) => Promise<unknown>>> = {
  "a start": (url) => startServer({ DATABASE_URL: url, GREY_DATABASE_ROLE: NEW_ROLE }),
  "a start that does not migrate": (url) => startServer({ DATABASE_URL: url, GREY_MIGRATE_ON_START: "false" }),
  "`grey migrate`": (url) => migrateWith(url, {}),
  "`grey migrate --check`": (url) => migrateWith(url, { check: true }),
  "`grey migrate --revert`": (url) => migrateWith(url, { revert: true }),
};

function migrateWith(url: string, options: { readonly check?: boolean; readonly revert?: boolean }): Promise<void> {
  const config = readConfig({ DATABASE_URL: url, GREY_DATABASE_ROLE: NEW_ROLE });
  return migrate(config, { ...options, onProgress: (line) => expect.fail(`it said: ${line}`) });
}

describe("a database whose schema this version does not know", () => {
  let database: TestDatabase;
  let admin: pg.Client;

  // Makes the service's role of the cluster.
  before(async () => (await createTestDatabase()).drop());
  afterEach(async () => {
    await admin.end();
    await database.drop();
  });

  async function open(made: Promise<TestDatabase>): Promise<void> {
    database = await made;
    admin = await openAdmin(database.url);
  }

  for (const { title, hasLedger, make, refusal } of KINDS) {
    it(`is refused at every door and left as it is: of ${title}`, async () => {
      await open(hasLedger ? createTestDatabase() : createEmptyDatabase());
      await admin.query(make);
      const before = await snapshot(admin);
      for (const [door, enter] of Object.entries(DOORS)) {
        const error = await refusalOf(enter(database.url), door);
        // The service itself may not read the list of an earlier version.
        const expected = door.includes("does not migrate")
          ? new RegExp(refusal.source.replace(/\\\(.*?\\\)/, ""))
          : refusal;
        expect(error, door).to.match(expected);
        expect(error, door).to.match(
          /^DATABASE_URL: PostgreSQL at \S+ .*; nothing was changed; point DATABASE_URL at an empty database/,
        );
        expect(await snapshot(admin), door).to.deep.equal(before);
      }
    });
  }

  it("is refused with both URLs named where the owner has one of its own", async () => {
    await open(createTestDatabase());
    await admin.query("INSERT INTO migrations (timestamp, name) VALUES (9000000000000, 'Later9000000000000')");
    const urls = { DATABASE_URL: database.url, GREY_DATABASE_OWNER_URL: database.url };
    expect(await refusalOf(startServer(urls), "a start")).to.match(
      /^GREY_DATABASE_OWNER_URL: .*; point DATABASE_URL and GREY_DATABASE_OWNER_URL at an empty database/,
    );
  });

  it("is refused, and left empty, by what does not migrate: it names the command that does", async () => {
    await open(createEmptyDatabase());
    const before = await snapshot(admin);
    expect(await refusalOf(migrateWith(database.url, { check: true }), "check")).to.match(
      /^DATABASE_URL: the schema is not up to date; run `grey migrate`$/,
    );
    expect(
      await refusalOf(startServer({ DATABASE_URL: database.url, GREY_MIGRATE_ON_START: "false" }), "start"),
    ).to.match(/^DATABASE_URL: the schema is not up to date; run `grey migrate`, or set GREY_MIGRATE_ON_START=true$/);
    const said: string[] = [];
    await migrate(readConfig({ DATABASE_URL: database.url }), { revert: true, onProgress: (line) => said.push(line) });
    expect(said).to.deep.equal(["there is no migration to revert"]);
    expect(await snapshot(admin)).to.deep.equal(before);
  });

  async function refusalOf(entering: Promise<unknown>, door: string): Promise<string> {
    const error = await entering.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error, door).to.be.instanceOf(SettingError);
    return (error as Error).message;
  }
});

/** Everything that a start could leave behind: relations with their columns and rights, functions, migrations, rows, roles. */
async function snapshot(admin: pg.Client): Promise<unknown> {
  const { rows } = await admin.query<{ line: string }>(`
    SELECT format('%s.%s %s %s', c.relname, a.attname, a.attacl, c.relacl) AS line FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
    UNION ALL SELECT format('%s', oid::regprocedure) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT format('schema %s %s', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL SELECT rolname FROM pg_roles ORDER BY 1`);
  const { rows: tables } = await admin.query<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1",
  );
  const contents: unknown[] = [];
  for (const { name } of tables) {
    const { rows: found } = await admin.query(
      `SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS rows FROM "${name}" t`,
    );
    contents.push([name, found]);
  }
  return { lines: rows.map(({ line }) => line), contents };
}
