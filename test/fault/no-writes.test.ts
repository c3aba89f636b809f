import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { credentials } from "@grpc/grpc-js";
import { expect } from "chai";
import pg from "pg";
import { HealthCheckResponse_ServingStatus as Status, HealthClient } from "../../generated/grpc/health/v1/health.js";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import { connect, refusal } from "../support/client.js";
import { assertIntegrity, balanceOf, makeWallet, openAdmin, transferRequest } from "../support/ledger.js";
import { eventually, freePort, makeFolder } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";
import { connectDatabase } from "../../src/db/database.js";
import { readConfig } from "../../src/config/config.js";

describe("a database that accepts no writes", () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let postgres: EmbeddedPostgres;
  let server: TestServer | undefined;
  let health: HealthClient | undefined;

  beforeEach(async () => {
    folder = await makeFolder();
    postgres = await startEmbeddedPostgres({ dataDir: join(folder.path, "data"), port: 0 });
  });
  afterEach(async () => {
    health?.close();
    health = undefined;
    await server?.stop();
    server = undefined;
    await postgres.stop({ immediate: true });
    await folder.remove();
  });

  async function healthIs(address: string, wanted: Status): Promise<void> {
    health ??= new HealthClient(address, credentials.createInsecure());
    const client = health;
    await eventually(`health ${wanted}`, () =>
      new Promise<Status | undefined>((resolve) => {
        client.check({ service: "" }, (error, response) => resolve(error === null ? response.status : undefined));
      }).then((status) => status === wanted),
    );
  }

  async function admin(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: postgres.ownerUrl });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  }

  it("because its disk is full is reported to callers and in health, serves reads, and serves again once there is room", async function () {
    const disk = join(folder.path, "disk");
    mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m,mode=0755", "tmpfs", disk], { stdio: "pipe" });
    } catch {
      // Only root can mount a small disk.
      return this.skip();
    }
    try {
      const tables = join(disk, "tables");
      mkdirSync(tables, { mode: 0o700 });
      const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${postgres.pid}/status`, "utf8"))?.[1]);
      chownSync(tables, uid, -1);
      await admin(`CREATE TABLESPACE small LOCATION '${tables}'`);
      await admin("CREATE DATABASE ledger TABLESPACE small");
      const url = postgres.ownerUrl.replace(/\/grey$/, "/ledger");
      server = await startServer({ DATABASE_URL: url });
      const grey = connect(server.address);
      const [from, to] = [await makeWallet(grey, { minorUnits: 1_000_000n }), await makeWallet(grey)];
      await healthIs(server.address, Status.SERVING);

      const filler = join(disk, "filler");
      for (let megabytes = 64; megabytes > 0; megabytes = Math.floor(megabytes / 2)) {
        try {
          writeFileSync(filler, Buffer.alloc(megabytes * 1_048_576), { flag: "a" });
        } catch {
          // More than is free.
        }
      }
      let posted = 0n;
      const full = await (async () => {
        for (;;) {
          const text = "x".repeat(400);
          const answers = await Promise.allSettled(
            Array.from({ length: 50 }, () =>
              grey.transactions.transfer(transferRequest(from.id, to.id, 1n, { description: text })),
            ),
          );
          posted += BigInt(answers.filter(({ status }) => status === "fulfilled").length);
          const failed = answers.find((answer) => answer.status === "rejected");
          if (failed !== undefined) return refusal(Promise.reject(failed.reason as Error));
        }
      })();
      expect(full).to.include({
        code: "UNAVAILABLE",
        reason: "DATABASE_UNAVAILABLE",
        message: "the database has a full disk; nothing was written",
      });
      expect(full.info).to.deep.equal({ cause: "disk_full" });
      await healthIs(server.address, Status.NOT_SERVING);
      expect(await balanceOf(grey, to.id)).to.equal(posted);
      expect(server.logs.map(({ message }) => message)).to.include("the database takes no writes: its disk is full");

      rmSync(filler);
      await healthIs(server.address, Status.SERVING);
      await grey.transactions.transfer(transferRequest(from.id, to.id, 1n));
      expect(await balanceOf(grey, to.id)).to.equal(posted + 1n);
      grey.close();
      const database = await connectDatabase(url, readConfig({ DATABASE_URL: url }));
      await assertIntegrity(database);
      await database.dataSource.destroy();
    } finally {
      await server?.stop();
      server = undefined;
      await postgres.stop({ immediate: true });
      execFileSync("umount", [disk]);
    }
  });

  it("because it is a standby is awaited at start, with a log line, and served once it is the primary", async () => {
    const first = await startServer({ DATABASE_URL: postgres.ownerUrl });
    await first.stop();
    const client = await openAdmin(postgres.ownerUrl);
    const { rows } = await client.query<{ data_directory: string }>("SHOW data_directory");
    await client.end();
    writeFileSync(join(rows[0]!.data_directory, "standby.signal"), "");
    // It restarts by itself, as after a crash.
    process.kill(postgres.pid, "SIGQUIT");
    await eventually("the standby", async () => {
      const standby = new pg.Client({ connectionString: postgres.ownerUrl });
      standby.on("error", () => undefined);
      try {
        await standby.connect();
        return (await standby.query<{ is: boolean }>("SELECT pg_is_in_recovery() AS is")).rows[0]!.is;
      } catch {
        return false;
      } finally {
        await standby.end().catch(() => undefined);
      }
    });
    const port = await freePort();
    const starting = startServer({ DATABASE_URL: postgres.ownerUrl, GREY_PORT: `${port}` });
    await healthIs(`127.0.0.1:${port}`, Status.NOT_SERVING);
    await admin("SELECT pg_promote()");
    server = await starting;
    await healthIs(server.address, Status.SERVING);
    expect(server.logs.find(({ message }) => message === "the database cannot be reached yet")).to.include({
      why: "the database is read-only: it is a standby, or the session is made so",
    });
  });
});
