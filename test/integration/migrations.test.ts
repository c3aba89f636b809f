import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect } from "chai";
import type pg from "pg";
import { PROJECT_DIR, readConfig, SettingError } from "../../src/config/config.js";
import { findDrift, migrate, migrateDown, migrateUp } from "../../src/db/migrate.js";
import { createEmptyDatabase, type TestDatabase } from "../support/cluster.js";
import { openAdmin } from "../support/ledger.js";

// Everything that a migration makes: columns, constraints, indexes, functions, triggers, and the rights on them.
const SCHEMA = `
SELECT format('column %s.%s %s %s default %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END, pg_get_expr(d.adbin, d.adrelid)) AS line
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
UNION ALL
SELECT format('column grant %s.%s %s', c.relname, a.attname, a.attacl) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND a.attacl IS NOT NULL AND NOT a.attisdropped
UNION ALL
SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('migrations'), 0)
UNION ALL
SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'migrations'
UNION ALL
SELECT format('table %s grants %s options %s', relname, relacl, reloptions) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'migrations'
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT format('function %s grants %s', pg_get_functiondef(oid), proacl) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1`;

describe("the migrations", () => {
  let database: TestDatabase;
  let admin: pg.Client;

  beforeEach(async () => {
    database = await createEmptyDatabase();
    admin = await openAdmin(database.url);
  });
  afterEach(async () => {
    await admin.end();
    await database.drop();
  });

  async function schema(): Promise<string[]> {
    const { rows } = await admin.query<{ line: string }>(SCHEMA);
    return rows.map((row) => row.line);
  }

  async function ranMigrations(): Promise<string[]> {
    const { rows } = await admin.query<{ name: string }>("SELECT name FROM migrations ORDER BY id");
    return rows.map((row) => row.name);
  }

  it("go up, are reverted one by one to nothing, and go up again to the same schema", async () => {
    const names = await migrateUp(database.url);
    expect(names.length).to.be.greaterThan(0);
    expect(await ranMigrations()).to.deep.equal(names);
    const up = await schema();
    expect(up.length).to.be.greaterThan(100);
    expect(await findDrift(database.url)).to.deep.equal([]);

    for (let left = names.length; left > 0; left -= 1) {
      await migrateDown(database.url);
      expect(await ranMigrations()).to.deep.equal(names.slice(0, left - 1));
    }
    expect(await schema(), "nothing is left but the list of migrations").to.deep.equal([]);

    expect(await migrateUp(database.url)).to.deep.equal(names);
    expect(await schema()).to.deep.equal(up);
    expect(await findDrift(database.url)).to.deep.equal([]);
    expect(await migrateUp(database.url), "there is nothing more to do").to.deep.equal([]);
  });

  it("can each be reverted and run again on top of those before", async () => {
    const names = await migrateUp(database.url);
    const up = await schema();
    for (let back = 1; back <= names.length; back += 1) {
      for (let n = 0; n < back; n += 1) await migrateDown(database.url);
      expect(await migrateUp(database.url)).to.deep.equal(names.slice(-back));
      expect(await schema()).to.deep.equal(up);
    }
  });

  it("leave an empty ledger: every ISO currency with its system accounts, a journal without records, one installation", async () => {
    await migrateUp(database.url);
    const { rows } = await admin.query<Record<string, bigint>>(
      `SELECT (SELECT count(*) FROM currencies) AS currencies, (SELECT count(*) FROM accounts) AS accounts,
         (SELECT size FROM journal_head) AS records, (SELECT count(*) FROM installation WHERE length(secret) = 32) AS installations`,
    );
    const [{ currencies, ...rest }] = rows as [(typeof rows)[0]];
    expect(currencies! > 150n).to.equal(true);
    expect(rest).to.deep.equal({ accounts: 4n * currencies!, records: 0n, installations: 1n });
  });

  it("give every ledger a secret and an id of its own", async () => {
    await migrateUp(database.url);
    const other = await createEmptyDatabase();
    await migrateUp(other.url);
    const otherAdmin = await openAdmin(other.url);
    const read = "SELECT ledger_id, encode(secret, 'hex') AS secret FROM installation";
    const [mine, its] = [(await admin.query(read)).rows[0], (await otherAdmin.query(read)).rows[0]];
    await otherAdmin.end();
    await other.drop();
    expect(mine!.ledger_id).not.to.equal(its!.ledger_id);
    expect(mine!.secret).not.to.equal(its!.secret);
  });

  it("keep a ledger that has journal records: reverting the first migration is refused", async () => {
    const names = await migrateUp(database.url);
    await admin.query("UPDATE journal_head SET size = 1");
    const before = await schema();
    for (let left = names.length; left > 1; left -= 1) await migrateDown(database.url);
    const error = await migrateDown(database.url).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(SettingError);
    expect((error as Error).message).to.match(/^DATABASE_URL: the ledger has 1 journal records, which would be lost/);
    expect(await ranMigrations()).to.deep.equal(names.slice(0, 1));
    await migrateUp(database.url);
    expect(await schema()).to.deep.equal(before);
  });

  it("are run once when several migrate at the same moment", async () => {
    const ran = await Promise.all([migrateUp(database.url), migrateUp(database.url), migrateUp(database.url)]);
    const [first, ...others] = ran.toSorted((a, b) => b.length - a.length);
    expect(others).to.deep.equal([[], []]);
    expect(await ranMigrations()).to.deep.equal(first);
    expect(await findDrift(database.url)).to.deep.equal([]);
  });

  it("are run once by two processes of `grey migrate` at the same moment", async () => {
    const outputs = await Promise.all([greyMigrate(database.url), greyMigrate(database.url)]);
    expect(outputs.map(({ code, text }) => (code === 0 ? 0 : text))).to.deep.equal([0, 0]);
    const said = outputs.map(({ text }) =>
      /\bran \w+/.test(text) ? "ran" : /up to date/.test(text) ? "nothing to do" : text,
    );
    expect(said.sort()).to.deep.equal(["nothing to do", "ran"]);
    expect(await findDrift(database.url)).to.deep.equal([]);
  });

  const drifts: readonly { readonly title: string; readonly change: string; readonly found: RegExp }[] = [
    {
      title: "a column that was added by hand",
      change: "ALTER TABLE entries ADD COLUMN note text",
      found: /"entries" DROP COLUMN "note"/,
    },
    {
      title: "a column that was dropped",
      change: "ALTER TABLE wallets DROP COLUMN label",
      found: /"wallets" ADD "label"/,
    },
    {
      title: "a column of another type",
      change: "ALTER TABLE entries ALTER COLUMN amount TYPE numeric",
      found: /"entries" .*"amount"/,
    },
    {
      title: "a column that may be null",
      change: "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
      found: /"users" .*"name" SET NOT NULL/,
    },
    {
      title: "an index that is missing",
      change: "DROP INDEX wallets_user_id",
      found: /CREATE INDEX "wallets_user_id"/,
    },
    {
      title: "a constraint that is missing",
      change: "ALTER TABLE accounts DROP CONSTRAINT accounts_normal_side",
      found: /"accounts_normal_side"/,
    },
    {
      title: "a unique constraint that is missing",
      change: "ALTER TABLE users DROP CONSTRAINT users_email_key",
      found: /"users" ADD CONSTRAINT .* UNIQUE \("email_key"\)/,
    },
  ];
  it("and the entities disagree about what was changed by hand, and `grey migrate --check` names it", async () => {
    await migrateUp(database.url);
    for (const { title, change } of drifts)
      await admin.query(change).catch((error: Error) => expect.fail(`${title}: ${error.message}`));
    const statements = await findDrift(database.url);
    for (const { title, found } of drifts)
      expect(
        statements.filter((one) => found.test(one)),
        title,
      ).not.to.deep.equal([]);
    const error = await migrate(readConfig({ DATABASE_URL: database.url }), {
      check: true,
      onProgress: () => undefined,
    }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(SettingError);
    expect((error as Error).message).to.include("note");
  });
});

/** Runs the command as an operator does. */
function greyMigrate(databaseUrl: string): Promise<{ readonly code: number; readonly text: string }> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, DATABASE_URL: databaseUrl };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(PROJECT_DIR, "bin/grey.js"), "migrate"],
      { env, timeout: 50_000 },
      (error, out, err) => {
        resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : 1, text: out + err });
      },
    );
  });
}
