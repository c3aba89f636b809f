import { assert, expect } from "chai";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { Client } from "pg";
import { PROJECT_DIR, SettingError } from "../../src/config/config.js";
import { linkLibraries } from "../../src/db/embedded/binaries.js";
import { SYSTEM_DIR } from "../../src/db/embedded/place.js";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/db/embedded-postgres.js";

const WAIT_MS_MAX = 60_000;
const IS_ROOT = process.getuid?.() === 0;
const MODULE_URL = pathToFileURL(join(PROJECT_DIR, "dist/src/db/embedded-postgres.js")).href;

/** Another Grey, as far as PostgreSQL is concerned: starts it, says what came of it, and lives until it is killed. */
const OTHER_GREY = `
  const { startEmbeddedPostgres } = await import(process.argv[1]);
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: process.argv[2], port: 0 });
    console.log(JSON.stringify({ pid: postgres.pid, port: postgres.port }));
    process.argv[3] === "" ? process.stdin.resume() : setImmediate(() => eval(process.argv[3]));
  } catch (error) {
    console.log(JSON.stringify({ name: error.name, message: error.message }));
  }
`;

type Outcome = { readonly pid: number; readonly port: number } | { readonly name: string; readonly message: string };

async function waitUntil(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (const deadline = Date.now() + WAIT_MS_MAX; !(await isSo()); await delay(10)) {
    if (Date.now() > deadline) assert.fail(`waited too long until ${what}`);
  }
}

/** Whether the process lives; a zombie does not. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function query<T extends object>(url: string, text: string): Promise<T[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<T>(text)).rows;
  } finally {
    await client.end();
  }
}

/** The value of a query of one column `v`, tried again while PostgreSQL is away. */
async function eventually(url: string, text: string): Promise<string | undefined> {
  let value: string | undefined;
  await waitUntil(`PostgreSQL answers ${text}`, async () => {
    try {
      value = (await query<{ v: string }>(url, text))[0]?.v;
      return true;
    } catch {
      return false;
    }
  });
  return value;
}

async function failureOf(start: Promise<EmbeddedPostgres>): Promise<SettingError> {
  let started: EmbeddedPostgres;
  try {
    started = await start;
  } catch (error) {
    expect(error).to.be.instanceOf(SettingError);
    return error as SettingError;
  }
  await started.stop({ immediate: true });
  return assert.fail("PostgreSQL started");
}

describe("the embedded PostgreSQL", function () {
  this.timeout(180_000);

  let root: string;
  let dataDir: string;
  const started: EmbeddedPostgres[] = [];
  const others: ChildProcess[] = [];
  const postmasters: number[] = [];

  /** A temporary folder that every user can enter. */
  async function makeRoot(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), "grey-embedded-"));
    await chmod(path, 0o755);
    return path;
  }

  async function start(at = dataDir, port = 0, messages: string[] = []): Promise<EmbeddedPostgres> {
    const postgres = await startEmbeddedPostgres({ dataDir: at, port, onProgress: (text) => void messages.push(text) });
    started.push(postgres);
    return postgres;
  }

  /** @param end what it does once PostgreSQL is there; nothing: it lives until it is killed */
  function startOther(end = ""): ChildProcess {
    const args = ["--input-type=module", "-e", OTHER_GREY, MODULE_URL, dataDir, end];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", end === "" ? "inherit" : "ignore"] });
    others.push(child);
    return child;
  }

  async function outcomeOf(child: ChildProcess): Promise<Outcome> {
    assert(child.stdout !== null);
    const [line] = (await once(createInterface(child.stdout), "line")) as [string];
    const outcome = JSON.parse(line) as Outcome;
    if ("pid" in outcome) postmasters.push(outcome.pid);
    return outcome;
  }

  async function startedOther(child: ChildProcess): Promise<{ readonly pid: number; readonly port: number }> {
    const outcome = await outcomeOf(child);
    return "pid" in outcome ? outcome : assert.fail(outcome.message);
  }

  async function kill(child: ChildProcess): Promise<void> {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }

  beforeEach(async () => {
    root = await makeRoot();
    dataDir = join(root, "data");
  });

  afterEach(async () => {
    for (const child of others.splice(0)) if (child.exitCode === null && child.signalCode === null) await kill(child);
    for (const postgres of started.splice(0)) await postgres.stop({ immediate: true });
    for (const pid of postmasters.splice(0)) {
      if (lives(pid)) process.kill(pid, "SIGQUIT");
      await waitUntil(`postmaster ${pid} has ended`, () => !lives(pid));
    }
    await rm(root, { recursive: true, force: true, maxRetries: 5 });
  });

  it("makes a durable, checksummed UTF-8 cluster that only 127.0.0.1 reaches and only its password opens", async () => {
    const postgres = await start();
    const settings: Record<string, string> = {
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      fsync: "on",
      full_page_writes: "on",
      synchronous_commit: "on",
      data_checksums: "on",
      server_encoding: "UTF8",
      password_encryption: "scram-sha-256",
      max_connections: "100",
      wal_compression: "off",
      TimeZone: "UTC",
    };
    for (const [name, value] of Object.entries(settings)) {
      expect(await query(postgres.ownerUrl, `SELECT current_setting('${name}') AS v`), name).to.eql([{ v: value }]);
    }
    const databases =
      "SELECT datlocprovider AS provider, datlocale AS locale, datcollate AS collation FROM pg_database";
    expect(await query(postgres.ownerUrl, `${databases} WHERE datname = 'grey'`)).to.eql([
      { provider: "b", locale: "C.UTF-8", collation: "C" },
    ]);
    const methods = await query(postgres.ownerUrl, "SELECT DISTINCT auth_method AS v FROM pg_hba_file_rules");
    expect(methods).to.eql([{ v: "scram-sha-256" }]);
    const wrong = postgres.ownerUrl.replace(/:[^:@]+@/, ":wrong@");
    await query(wrong, "SELECT 1").then(
      () => assert.fail("a wrong password opened it"),
      (error: { code: string }) => expect(error.code).to.equal("28P01"),
    );
    const passwordFile = await stat(join(dataDir, "postgres", "grey.password"));
    expect(passwordFile.mode & 0o777).to.equal(0o600);
    expect(await readdir(dataDir)).to.have.members(["grey.lock", "postgres", "postgres.log"]);
  });

  it("keeps what was committed over a stop, and a stop leaves no process", async () => {
    const first = await start();
    await query(first.ownerUrl, "CREATE TABLE kept AS SELECT 42 AS v");
    await Promise.all([first.stop(), first.stop()]);
    expect(lives(first.pid)).to.equal(false);
    expect(existsSync(join(dataDir, "postgres", "postmaster.pid"))).to.equal(false);
    await first.stop();

    const second = await start();
    expect(await query(second.ownerUrl, "SELECT v FROM kept")).to.eql([{ v: 42 }]);
  });

  it("stops immediately while a fast stop is under way", async () => {
    const postgres = await start();
    await Promise.all([postgres.stop(), postgres.stop({ immediate: true })]);
    expect(lives(postgres.pid)).to.equal(false);
  });

  it("takes a path with blanks, quotes, a dollar sign and letters beyond ASCII", async () => {
    const postgres = await start(join(root, `дата "Ünï" o'clock $HOME \`x\``));
    expect(await query(postgres.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
  });

  it("names GREY_EMBEDDED_PORT when the port is taken", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const address = server.address();
      assert(typeof address === "object" && address !== null);
      const failure = await failureOf(start(dataDir, address.port));
      expect(failure.message)
        .to.match(/^GREY_EMBEDDED_PORT: .*already in use/i)
        .and.contain(`${address.port}`);
    } finally {
      server.close();
    }
  });

  it("refuses data that a living Grey uses, names it, and does not disturb it", async () => {
    const other = startOther();
    const { pid, port } = await startedOther(other);
    const failure = await failureOf(start());
    expect(failure.message)
      .to.match(/^GREY_DATA_DIR: /)
      .and.contain(`pid ${other.pid}`);
    expect(lives(pid)).to.equal(true);
    const password = readFileSync(join(dataDir, "postgres", "grey.password"), "utf8").trim();
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/grey`;
    expect(await query(url, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
  });

  it("lets exactly one of several that start at the same time have the data, on busy cores too, and the others name it", async function () {
    this.timeout(600_000);
    const busy = cpus().map(() => spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
    others.push(...busy);
    for (let round = 0; round < 4; round += 1) {
      // First a new folder, then one whose Grey and PostgreSQL were both killed, or only the Grey.
      const all = [1, 2, 3, 4].map(() => startOther());
      const outcomes = await Promise.all(all.map(outcomeOf));
      const winner = outcomes.findIndex((outcome) => "pid" in outcome);
      const pid = all[winner]?.pid;
      const message = `GREY_DATA_DIR: another Grey (pid ${pid}) is using the database in ${dataDir}`;
      const refused = outcomes.filter((_, index) => index !== winner);
      expect(refused, `round ${round}`).to.deep.equal(refused.map(() => ({ name: "SettingError", message })));
      const postmaster = (outcomes[winner] as { readonly pid: number }).pid;
      expect(lives(postmaster), `round ${round}`).to.equal(true);
      await kill(all[winner]!);
      if (round % 2 === 1) continue;
      process.kill(postmaster, "SIGKILL");
      await waitUntil("the postmaster is dead", () => !lives(postmaster));
    }
    for (const child of busy) await kill(child);
  });

  it("stops the PostgreSQL of a killed Grey and starts anew on its data", async () => {
    const other = startOther();
    const { pid } = await startedOther(other);
    await kill(other);
    expect(lives(pid)).to.equal(true);

    const messages: string[] = [];
    const postgres = await start(dataDir, 0, messages);
    expect(lives(pid)).to.equal(false);
    expect(messages.join("\n")).to.contain(`stopping PostgreSQL (pid ${pid})`);
    expect(await query(postgres.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
  });

  it("recovers when Grey and PostgreSQL were killed, also when another process got the postmaster's pid", async () => {
    const other = startOther();
    const { pid } = await startedOther(other);
    await kill(other);
    process.kill(pid, "SIGKILL");
    await waitUntil("the postmaster is dead", () => !lives(pid));

    const { uid, gid } = await stat(join(dataDir, "postgres"));
    const bystander = spawn("/bin/sleep", ["1000"], { ...(IS_ROOT && { uid, gid }), cwd: "/", stdio: "ignore" });
    try {
      const path = join(dataDir, "postgres", "postmaster.pid");
      await writeFile(path, readFileSync(path, "utf8").replace(/^\d+/, `${bystander.pid}`));
      const postgres = await start();
      expect(await query(postgres.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
      expect(bystander.exitCode).to.equal(null);
      expect(bystander.signalCode).to.equal(null);
    } finally {
      await kill(bystander);
    }
  });

  it("recovers from an empty pid file", async () => {
    const first = await start();
    await first.stop();
    await writeFile(join(dataDir, "postgres", "postmaster.pid"), "");
    const postgres = await start();
    expect(await query(postgres.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
  });

  it("starts a killed PostgreSQL again on the same port and still refuses a second Grey", async () => {
    const messages: string[] = [];
    const postgres = await start(dataDir, 0, messages);
    await query(postgres.ownerUrl, "CREATE TABLE kept AS SELECT 42 AS v");
    const { pid, port } = postgres;
    process.kill(pid, "SIGKILL");
    await waitUntil("there is another postmaster", () => postgres.pid !== pid);
    expect(await eventually(postgres.ownerUrl, "SELECT v FROM kept")).to.equal(42);
    expect(postgres.port).to.equal(port);
    expect(messages.join("\n")).to.contain("SIGKILL").and.contain(`back on port ${port}`);

    const failure = await failureOf(start());
    expect(failure.message).to.contain(`pid ${process.pid}`);
    await postgres.stop();
    expect(lives(postgres.pid)).to.equal(false);
  });

  it("a stop while PostgreSQL is being restarted leaves no process", async () => {
    const postgres = await start();
    process.kill(postgres.pid, "SIGKILL");
    await waitUntil("the postmaster is dead", () => !lives(postgres.pid));
    await postgres.stop();
    expect(lives(postgres.pid)).to.equal(false);
    const again = await start();
    expect(await query(again.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
  });

  it("takes a folder only that is new, empty or its own", async () => {
    const foreign: readonly [string, (at: string) => Promise<unknown>][] = [
      ["a file of others", (at) => writeFile(join(at, "notes.txt"), "")],
      ["a folder of others", (at) => mkdir(join(at, "postgres"))],
      [
        "a cluster of others",
        (at) => mkdir(join(at, "postgres")).then(() => writeFile(join(at, "postgres", "PG_VERSION"), "18\n")),
      ],
    ];
    for (const [what, fill] of foreign) {
      const at = join(root, what);
      await mkdir(at);
      await fill(at);
      const before = await readdir(at);
      expect((await failureOf(start(at))).message, what)
        .to.match(/^GREY_DATA_DIR: .* must be a new folder, an empty one, or one that Grey has made$/)
        .and.contain(at);
      expect(await readdir(at), what).to.deep.equal(before);
    }
    for (const at of ["/etc", "/"])
      expect((await failureOf(start(at))).message).to.match(/^GREY_DATA_DIR: .* must be a new/);
    const mounted = join(root, "mounted");
    await mkdir(join(mounted, "lost+found"), { recursive: true });
    await (await start(mounted)).stop();
    await writeFile(join(mounted, "notes.txt"), "kept beside the data");
    await (await start(mounted)).stop();
  });

  it("says at once that a folder cannot be made, and names the rule", async () => {
    await writeFile(join(root, "file"), "");
    const impossible = [
      join(root, "file"),
      join(root, "file", "data"),
      ...(process.platform === "linux" ? ["/proc/x", "/proc/x/y", "/sys/x"] : []),
    ];
    for (const at of impossible) {
      expect((await failureOf(start(at))).message, at)
        .to.match(/^GREY_DATA_DIR: the folder .* cannot be made \(E[A-Z]+\); it must be a new folder/)
        .and.contain(at);
    }
  });

  it("refuses data that a living Grey uses even when its lock was removed by hand", async () => {
    const other = startOther();
    const { pid } = await startedOther(other);
    await rm(join(dataDir, "grey.lock"));
    expect((await failureOf(start())).message).to.contain(`another Grey (pid ${other.pid})`);
    expect(lives(pid)).to.equal(true);
  });

  it("ends with the process that started it, whichever way that ends by itself", async () => {
    for (const end of [
      "process.exit(3)",
      "setTimeout(() => { throw new Error('fault') })",
      "Promise.reject(new Error('fault'))",
    ]) {
      const child = startOther(end);
      const { pid } = await startedOther(child);
      if (child.exitCode === null) await once(child, "exit");
      expect(child.exitCode, end).not.to.equal(0);
      await waitUntil(`PostgreSQL has ended after ${end}`, () => !lives(pid));
    }
    const postgres = await start();
    expect(await query(postgres.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
  });

  it("a kill in the middle of initdb leaves nothing that hinders the next start", async () => {
    const other = startOther();
    await waitUntil("initdb is at work", () => existsSync(join(dataDir, `postgres.new-${other.pid}`, "base")));
    await kill(other);
    expect(existsSync(join(dataDir, "postgres"))).to.equal(false);
    const postgres = await start();
    expect(await query(postgres.ownerUrl, "SELECT 1 AS v")).to.eql([{ v: 1 }]);
    expect(await readdir(dataDir)).to.have.members(["grey.lock", "postgres", "postgres.log"]);
  });

  it("gives the first start up when the signal says so, and leaves no half-made cluster", async () => {
    const giveUp = new AbortController();
    const onProgress = (): void => giveUp.abort(new Error("given up"));
    const starting = startEmbeddedPostgres({ dataDir, port: 0, onProgress, signal: giveUp.signal });
    const [result] = await Promise.allSettled([starting]);
    if (result.status === "fulfilled") await result.value.stop({ immediate: true });
    expect(result).to.have.nested.property("reason.message", "given up");
    expect(existsSync(join(dataDir, "postgres"))).to.equal(false);
  });

  it("says which PostgreSQL the data of another major version needs", async () => {
    const postgres = await start();
    await postgres.stop();
    await writeFile(join(dataDir, "postgres", "PG_VERSION"), "15\n");
    const failure = await failureOf(start());
    expect(failure.message).to.match(/^GREY_DATA_DIR: .*needs PostgreSQL 15/);
  });

  it("names the path when a file is in the place of the folder", async () => {
    await writeFile(dataDir, "");
    const failure = await failureOf(start());
    expect(failure.message)
      .to.match(/^GREY_DATA_DIR: /)
      .and.contain(dataDir);
  });

  it("sets a log of more than 10 MB aside at a start", async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, "postgres.log"), "");
    await truncate(join(dataDir, "postgres.log"), 10 * 1024 * 1024 + 1);
    await start();
    expect((await stat(join(dataDir, "postgres.log"))).size).to.be.below(10_000);
    expect((await stat(join(dataDir, "postgres.log.1"))).size).to.be.above(10_000);
  });

  it("makes the library links that npm left out, and leaves the others alone", async () => {
    const native = join(root, "native");
    await mkdir(join(native, "lib"), { recursive: true });
    await writeFile(join(native, "lib", "libpq.so.5.18"), "");
    await symlink("libpq.so.5.18", join(native, "lib", "libpq.so"));
    const links = ["libpq.so", "libpq.so.5"].map((name) => ({
      source: "native/lib/libpq.so.5.18",
      target: `native/lib/${name}`,
    }));
    await writeFile(join(native, "pg-symlinks.json"), JSON.stringify(links));
    await linkLibraries(native);
    expect((await stat(join(native, "lib", "libpq.so.5"))).isFile()).to.equal(true);
    await cp(native, join(root, "moved"), { recursive: true, verbatimSymlinks: true });
    await rm(native, { recursive: true });
    expect((await stat(join(root, "moved", "lib", "libpq.so.5"))).isFile(), "the link is relative").to.equal(true);
  });

  it("as root, keeps data that the user postgres cannot reach elsewhere and finds it again", async function () {
    if (!IS_ROOT) this.skip();
    const systemDirWasThere = existsSync(SYSTEM_DIR);
    await chmod(root, 0o700);
    let elsewhere: string | undefined;
    try {
      const messages: string[] = [];
      const first = await start(dataDir, 0, messages);
      elsewhere = first.dataDir;
      expect(elsewhere.startsWith(`${SYSTEM_DIR}/data-`)).to.equal(true);
      expect(messages.join("\n")).to.contain(`the data is kept in ${elsewhere}`);
      await query(first.ownerUrl, "CREATE TABLE kept AS SELECT 42 AS v");
      await first.stop();

      await chmod(root, 0o755);
      const second = await start();
      expect(second.dataDir).to.equal(elsewhere);
      expect(await query(second.ownerUrl, "SELECT v FROM kept")).to.eql([{ v: 42 }]);
      await second.stop();

      await mkdir(join(dataDir, "postgres"));
      await chmod(join(dataDir, "postgres"), 0o700);
      const failure = await failureOf(start());
      expect(failure.message).to.match(/^GREY_DATA_DIR: /);
    } finally {
      for (const postgres of started) await postgres.stop({ immediate: true });
      if (elsewhere !== undefined) await rm(elsewhere, { recursive: true, force: true });
      if (!systemDirWasThere) await rm(SYSTEM_DIR, { recursive: true, force: true });
    }
  });
});
