import { randomUUID } from "node:crypto";
import { chown, readFile, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { expect } from "chai";
import pg from "pg";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import { makeCertificate } from "../support/certificate.js";
import { connect } from "../support/client.js";
import { endAllGrey, freePort, makeFolder, runGrey, spawnGrey, startGreyProcess } from "../support/process.js";

const WRONGLY_SET = 2;

describe("a start on a PostgreSQL of one's own", () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let cluster: EmbeddedPostgres;
  /** What trusts the server's certificate, which is for 127.0.0.1, and what does not. */
  let trusted: string;
  let other: string;

  before(async () => {
    folder = await makeFolder();
    cluster = await startEmbeddedPostgres({ dataDir: join(folder.path, "data"), port: 0 });
    const { certificate, key } = makeCertificate("127.0.0.1");
    trusted = join(folder.path, "trusted.pem");
    other = join(folder.path, "other.pem");
    await writeFile(trusted, certificate);
    await writeFile(other, makeCertificate("127.0.0.1").certificate);
    const clusterDir = join(cluster.dataDir, "postgres");
    const { uid, gid } = await stat(clusterDir);
    for (const [name, text] of [
      ["server.crt", certificate],
      ["server.key", key],
    ] as const) {
      await writeFile(join(clusterDir, name), text, { mode: 0o600 });
      await chown(join(clusterDir, name), uid, gid);
    }
  });
  afterEach(() => endAllGrey());
  after(async () => {
    await cluster.stop({ immediate: true });
    await folder.remove();
  });

  async function admin(statement: string): Promise<void> {
    const client = new pg.Client({ connectionString: cluster.ownerUrl });
    await client.connect();
    await client.query(statement);
    await client.end();
  }

  async function setTls(isOn: boolean): Promise<void> {
    await admin(`ALTER SYSTEM SET ssl = ${isOn ? "on" : "off"}`);
    await admin("SELECT pg_reload_conf()");
    const client = new pg.Client({ connectionString: cluster.ownerUrl });
    await client.connect();
    while ((await client.query<{ ssl: string }>("SHOW ssl")).rows[0]?.ssl !== (isOn ? "on" : "off"));
    await client.end();
  }

  /** The one sentence of a start that is refused. */
  async function refusalOf(settings: Readonly<Record<string, string>>): Promise<string> {
    const { code, err, out } = await runGrey({ GREY_LOG_LEVEL: "debug", ...settings });
    expect(code, out).to.equal(WRONGLY_SET);
    const [first = "", ...rest] = err.split("\n");
    for (const line of rest)
      expect(line, "the stack of debugging, and no warning of a library").not.to.match(/warning/i);
    return first;
  }

  describe("with TLS", () => {
    before(() => setTls(true));

    const withQuery = (query: string, host = "127.0.0.1") => `${cluster.ownerUrl.replace("127.0.0.1", host)}?${query}`;

    for (const [title, queryOf] of [
      ["checks the server's certificate and name", () => `sslmode=require&sslrootcert=${trusted}`],
      ["checks the server's certificate only", () => `sslmode=verify-ca&sslrootcert=${trusted}`],
      ["encrypts without a check", () => "sslmode=no-verify"],
    ] as const) {
      it(`${title}, on every connection`, async () => {
        const server = await startGreyProcess({ DATABASE_URL: withQuery(queryOf()) });
        const grey = connect(server.address);
        await grey.users.createUser({
          requestId: randomUUID(),
          name: "Ada",
          email: `${randomUUID()}@example.com`,
          metadata: {},
        });
        grey.close();
        const client = new pg.Client({ connectionString: cluster.ownerUrl });
        await client.connect();
        const { rows } = await client.query<{ ssl: boolean }>(
          "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name IN ('grey', 'grey-watch')",
        );
        await client.end();
        expect(rows).to.deep.equal([{ ssl: true }]);
        server.signal("SIGTERM");
        expect((await server.ended).err).to.equal("");
      });
    }

    it("says in one sentence that a certificate is not trusted, and what mends it", async () => {
      for (const query of ["sslmode=require", "sslmode=verify-full", `sslmode=verify-ca&sslrootcert=${other}`]) {
        expect(await refusalOf({ DATABASE_URL: withQuery(query) }), query).to.match(
          /^grey: DATABASE_URL: the certificate of PostgreSQL is not trusted \(.*\); give the one that signed it as sslrootcert=FILE, or .*sslmode=no-verify$/,
        );
      }
    });

    it("says that a certificate is for another name", async () => {
      const url = withQuery(`sslmode=require&sslrootcert=${trusted}`, "localhost");
      expect(await refusalOf({ DATABASE_URL: url })).to.match(
        /^grey: DATABASE_URL: .*another name than localhost.*verify-ca$/,
      );
    });

    it("names the owner's URL when that is the wrong one", async () => {
      const owner = withQuery("sslmode=require");
      expect(await refusalOf({ DATABASE_URL: cluster.ownerUrl, GREY_DATABASE_OWNER_URL: owner })).to.match(
        /^grey: GREY_DATABASE_OWNER_URL: the certificate/,
      );
    });

    it("says that PostgreSQL wants encryption", async () => {
      const path = join(cluster.dataDir, "postgres", "pg_hba.conf");
      const before = await readFile(path, "utf8");
      await writeFile(path, `hostnossl grey postgres 127.0.0.1/32 reject\n${before}`);
      await admin("SELECT pg_reload_conf()").finally(() => undefined);
      try {
        expect(await refusalOf({ DATABASE_URL: cluster.ownerUrl })).to.match(
          /^grey: DATABASE_URL: .*add sslmode=require/,
        );
      } finally {
        await writeFile(path, before);
        const client = new pg.Client({ connectionString: withQuery("sslmode=no-verify") });
        await client.connect();
        await client.query("SELECT pg_reload_conf()");
        await client.end();
      }
    });
  });

  it("says that PostgreSQL takes no encrypted connections", async () => {
    await setTls(false);
    expect(await refusalOf({ DATABASE_URL: `${cluster.ownerUrl}?sslmode=require` })).to.match(
      /^grey: DATABASE_URL: PostgreSQL takes no encrypted connections; .*sslmode=disable/,
    );
  });

  describe("that cannot be reached yet", () => {
    /** The first line that a start logs which waits for its database. */
    async function waitingLine(
      url: string,
      settings: Readonly<Record<string, string>> = {},
    ): Promise<Record<string, unknown>> {
      const server = spawnGrey({ DATABASE_URL: url, GREY_DATABASE_CONNECT_TIMEOUT_MS: "200", ...settings });
      const line = await server.line("the database cannot be reached yet");
      server.signal("SIGTERM");
      expect((await server.ended).code).to.equal(0);
      return line;
    }

    it("says that the connection is refused", async () => {
      const port = await freePort();
      expect(await waitingLine(`postgres://ada:canary@127.0.0.1:${port}/grey`)).to.include({
        why: "connection refused: nothing listens there",
        at: `PostgreSQL at 127.0.0.1:${port}/grey`,
        setting: "DATABASE_URL",
      });
    });

    it("says that the host name is unknown", async () => {
      const { why } = await waitingLine("postgres://ada@no-such-host.invalid/grey");
      expect(why).to.match(/^the host name no-such-host\.invalid (is unknown|cannot be resolved)/);
    });

    it("says that there is no socket, and where it looks for it", async () => {
      expect(await waitingLine(`postgres:///grey?host=${folder.path}&user=ada`)).to.include({
        why: "there is no such socket: PostgreSQL is not running, or has its sockets elsewhere",
        at: `PostgreSQL at ${folder.path}/.s.PGSQL.5432, database grey`,
      });
    });

    it("says that nothing answers, or that the connection is closed at once", async () => {
      for (const [answer, why] of [
        ["silence", /^nothing answers/],
        ["end", /^the connection was (closed at once|reset)/],
      ] as const) {
        const server: Server = createServer((socket) => {
          socket.on("error", () => undefined).resume();
          if (answer === "end") socket.destroy();
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        const { port } = server.address() as AddressInfo;
        expect((await waitingLine(`postgres://ada@127.0.0.1:${port}/grey`)).why).to.match(why);
        server.close();
      }
    });

    it("names the owner's URL when that one leads nowhere", async () => {
      const port = await freePort();
      const line = await waitingLine(cluster.ownerUrl, {
        GREY_DATABASE_OWNER_URL: `postgres://ada@127.0.0.1:${port}/grey`,
      });
      expect(line).to.include({ setting: "GREY_DATABASE_OWNER_URL", at: `PostgreSQL at 127.0.0.1:${port}/grey` });
    });
  });
});
