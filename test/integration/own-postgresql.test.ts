import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import pg from "pg";
import { PROJECT_DIR, readConfig, SettingError } from "../../src/config/config.js";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import { migrateDown, migrateUp, migrationPlan } from "../../src/db/migrate.js";
import { connect } from "../support/client.js";
import { makeFolder } from "../support/process.js";
import { startServer } from "../support/server.js";

const PAGE = readFileSync(join(PROJECT_DIR, "docs/own-postgresql.md"), "utf8");
const STEPS_MAX = 6;

type Settings = Readonly<Record<string, string>>;

describe("a PostgreSQL of one's own", () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let cluster: EmbeddedPostgres;

  // A cluster of its own: roles belong to the whole cluster.
  before(async () => {
    folder = await makeFolder();
    cluster = await startEmbeddedPostgres({ dataDir: join(folder.path, "data"), port: 0 });
    await admin("postgres", "DROP DATABASE grey");
  });
  after(async () => {
    await cluster.stop({ immediate: true });
    await folder.remove();
  });

  async function admin(database: string, statements: string): Promise<void> {
    const url = new URL(cluster.ownerUrl);
    url.pathname = `/${database}`;
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    // One by one: CREATE DATABASE wants no others beside it.
    try {
      for (const statement of statements.split(";")) if (statement.trim() !== "") await client.query(statement);
    } finally {
      await client.end();
    }
  }

  const urlOf = (login: string, password: string, database: string) =>
    `postgres://${login}:${password}@127.0.0.1:${cluster.port}/${database}`;

  /** The statements of a block of the page. */
  function block(name: string): string {
    const [, text] = new RegExp(`<!-- run: ${name} -->\n\`\`\`sql\n([^\`]*)\`\`\``).exec(PAGE) ?? [];
    return text ?? expect.fail(`the page has no block ${name}`);
  }

  /** Serves with the settings, and makes a user. */
  async function serve(settings: Settings): Promise<void> {
    const server = await startServer(settings);
    const grey = connect(server.address);
    try {
      await grey.users.createUser({
        requestId: randomUUID(),
        name: "Ada",
        email: `${randomUUID()}@example.com`,
        metadata: {},
      });
      expect((await grey.ledger.checkIntegrity({ maxFaults: 0 })).ok).to.equal(true);
    } finally {
      grey.close();
      await server.stop();
    }
  }

  async function refusalOf(settings: Settings): Promise<string | undefined> {
    try {
      await serve(settings);
      return undefined;
    } catch (error) {
      expect(error).to.be.instanceOf(SettingError);
      return (error as Error).message;
    }
  }

  it("serves a plain owner, another login and a second ledger beside it, once the page's statements are run", async () => {
    await admin("postgres", block("roles"));
    const owner = urlOf("grey", "choose-one", "grey");
    await serve({ DATABASE_URL: owner });
    await admin("postgres", block("logins"));
    const app = urlOf("grey_app", "choose-another", "grey");
    await serve({ DATABASE_URL: app, GREY_DATABASE_OWNER_URL: owner });
    await serve({ DATABASE_URL: app, GREY_MIGRATE_ON_START: "false" });
    await admin("postgres", block("second"));
    const shop = urlOf("shop", "choose-a-third", "shop");
    await serve({ DATABASE_URL: shop, GREY_DATABASE_ROLE: "shop_service" });
    await serve({ DATABASE_URL: owner });

    const client = new pg.Client({ connectionString: cluster.ownerUrl.replace(/grey$/, "postgres") });
    await client.connect();
    const { rows } = await client.query(
      "SELECT rolname FROM pg_roles WHERE rolname ~ '^(grey|shop)' AND (rolsuper OR rolcreaterole OR rolcreatedb)",
    );
    await client.end();
    expect(rows, "logins with more rights than the page gives").to.deep.equal([]);
    expect(await refusalOf({ DATABASE_URL: shop, GREY_DATABASE_ROLE: "grey_service" })).to.match(
      /^GREY_DATABASE_ROLE: this ledger was migrated with the role shop_service, .*set GREY_DATABASE_ROLE=shop_service$/,
    );
  });

  it("makes the role itself where the owner may", async () => {
    await admin(
      "postgres",
      "CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'pw'; CREATE DATABASE made OWNER maker TEMPLATE template0 ENCODING 'UTF8'",
    );
    await serve({ DATABASE_URL: urlOf("maker", "pw", "made"), GREY_DATABASE_ROLE: "made_service" });
    await serve({ DATABASE_URL: urlOf("maker", "pw", "made"), GREY_DATABASE_ROLE: "made_service" });
    const client = new pg.Client({ connectionString: cluster.ownerUrl.replace(/grey$/, "made") });
    await client.connect();
    const { rows } = await client.query<{ grantee: string }>(
      `SELECT DISTINCT grantee FROM information_schema.role_table_grants WHERE table_schema = 'public' AND grantee <> 'maker'
       UNION SELECT DISTINCT grantee FROM information_schema.column_privileges WHERE table_schema = 'public' AND grantee <> 'maker'`,
    );
    await client.end();
    expect(rows, "migrations grant to the role of the setting only").to.deep.equal([{ grantee: "made_service" }]);
  });

  /** What an administrator has done, which is not enough; the names %L, %D and %R are the login's, the database's and the role's. */
  const lacking: readonly (readonly [what: string, statements: string, settings?: Settings])[] = [
    ["the role", "CREATE ROLE %L LOGIN PASSWORD 'pw'; CREATE DATABASE %D OWNER %L"],
    [
      "the right to take the role on",
      "CREATE ROLE %L LOGIN PASSWORD 'pw'; CREATE ROLE %R; CREATE DATABASE %D OWNER %L",
    ],
    [
      "the right to take on a role that another owner with CREATEROLE has made",
      "CREATE ROLE %L LOGIN CREATEROLE PASSWORD 'pw'; CREATE ROLE %R; CREATE DATABASE %D OWNER %L",
    ],
    ["the database", "CREATE ROLE %L LOGIN PASSWORD 'pw'"],
    [
      "the right to connect",
      "CREATE ROLE %L LOGIN PASSWORD 'pw'; CREATE DATABASE %D; REVOKE ALL ON DATABASE %D FROM PUBLIC",
    ],
    ["the right to make tables", "CREATE ROLE %L LOGIN PASSWORD 'pw'; CREATE DATABASE %D"],
    [
      "the right to take the role on, for a login that is not the owner",
      "CREATE ROLE %L LOGIN PASSWORD 'pw'; CREATE ROLE %L_owner LOGIN CREATEROLE PASSWORD 'pw'; CREATE ROLE %R; CREATE DATABASE %D OWNER %L_owner",
      { GREY_DATABASE_OWNER_URL: "owner" },
    ],
    [
      "the right to take the role on, where nobody migrates",
      "CREATE ROLE %L LOGIN PASSWORD 'pw'; CREATE DATABASE %D OWNER %L",
      { GREY_MIGRATE_ON_START: "false" },
    ],
  ];
  for (const [index, [what, statements, settings]] of lacking.entries()) {
    it(`names the statement that gives ${what}`, async () => {
      const names: Record<string, string> = { L: `login${index}`, D: `ledger${index}`, R: `service${index}` };
      await admin(
        "postgres",
        statements.replaceAll(/%([LDR])/g, (_, name: string) => names[name]!),
      );
      const url = urlOf(names.L!, "pw", names.D!);
      const all = {
        DATABASE_URL: url,
        GREY_DATABASE_ROLE: names.R!,
        ...settings,
        ...(settings?.GREY_DATABASE_OWNER_URL && {
          GREY_DATABASE_OWNER_URL: url.replace(names.L!, `${names.L!}_owner`),
        }),
      };
      if (settings?.GREY_MIGRATE_ON_START === "false") {
        await admin("postgres", `CREATE ROLE ${names.R!}; GRANT ${names.R!} TO ${names.L!}`);
        await serve({ ...all, GREY_MIGRATE_ON_START: "true" });
        await admin("postgres", `REVOKE ${names.R!} FROM ${names.L!}`);
      }
      for (let step = 1; ; step += 1) {
        const message = await refusalOf(all);
        if (message === undefined) return expect(step, "it was refused at first").to.be.greaterThan(1);
        expect(step, message).to.be.lessThan(STEPS_MAX);
        const [, mending] = /an administrator runs: ([^]*?;)(?: Or | *$)/.exec(message) ?? [];
        expect(mending, message).to.be.a("string");
        const isOfDatabase = /SCHEMA|ALL TABLES/.test(mending!);
        await admin(isOfDatabase ? names.D! : "postgres", mending!);
      }
    });
  }

  it("names the statement that lets a new owner change the tables of the one before", async () => {
    await admin(
      "postgres",
      `CREATE ROLE before LOGIN CREATEROLE PASSWORD 'pw'; CREATE ROLE after LOGIN PASSWORD 'pw';
       CREATE DATABASE handed OWNER before`,
    );
    const settings = { GREY_DATABASE_ROLE: "handed_service" };
    const before = urlOf("before", "pw", "handed");
    const plan = migrationPlan(readConfig({ DATABASE_URL: before, ...settings }), before);
    await migrateUp(before, plan);
    // What is left to do is what the new owner needs the tables for.
    await migrateDown(before, plan);
    await admin("postgres", "GRANT handed_service TO after; ALTER DATABASE handed OWNER TO after");
    const after = { DATABASE_URL: urlOf("after", "pw", "handed"), ...settings };
    expect(await refusalOf(after)).to.match(/an administrator runs: GRANT before TO after;$/);
    await admin("postgres", "GRANT before TO after");
    await serve(after);
  });

  it("refuses a database that is not UTF8, with the statement for one that is", async () => {
    await admin(
      "postgres",
      "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc",
    );
    expect(await refusalOf({ DATABASE_URL: cluster.ownerUrl.replace(/grey$/, "ascii") })).to.match(
      /^DATABASE_URL: .*SQL_ASCII.*CREATE DATABASE ascii_utf8 OWNER postgres TEMPLATE template0 ENCODING 'UTF8';$/,
    );
  });
});
