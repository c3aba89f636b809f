import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { connect } from "../support/client.js";
import { endAllGrey, eventually, freePort, isAlive, makeFolder, postmasterPid, spawnGrey } from "../support/process.js";

const PROGRAM = join(PROJECT_DIR, "bin/grey.js");
const LINE_MS_MAX = 45_000;

describe("a server and the terminal or the reader of its log", () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let dataDir: string;
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    folder = await makeFolder();
    dataDir = join(folder.path, "data");
  });
  afterEach(async () => {
    await endAllGrey();
    for (const child of children.splice(0)) if (child.exitCode === null) child.kill("SIGKILL");
    await folder.remove();
  });

  it("serves on when the readers of both its outputs are gone, and ends in order when it is told to", async () => {
    const [out, err] = [join(folder.path, "out"), join(folder.path, "err")];
    execFileSync("mkfifo", [out, err]);
    const readers = [out, err].map((path) => spawn("cat", [path], { stdio: ["ignore", "ignore", "ignore"] }));
    const port = await freePort();
    const server = spawn("/bin/sh", ["-c", 'exec "$0" "$1" serve >"$2" 2>"$3"', process.execPath, PROGRAM, out, err], {
      env: { PATH: process.env.PATH, GREY_DATA_DIR: dataDir, GREY_PORT: `${port}`, GREY_LOG_LEVEL: "debug" },
      stdio: "ignore",
    });
    children.push(server, ...readers);
    const grey = connect(`127.0.0.1:${port}`);
    await eventually("an answer", () => answers(grey), LINE_MS_MAX);
    for (const reader of readers) {
      reader.kill("SIGKILL");
      await once(reader, "exit");
    }
    for (let call = 0; call < 20; call += 1) await grey.users.createUser(ada());
    expect((await grey.ledger.checkIntegrity({ maxFaults: 0 })).ok).to.equal(true);
    grey.close();
    const postmaster = await postmasterPid(dataDir);
    server.kill("SIGTERM");
    expect(await once(server, "exit")).to.deep.equal([0, null]);
    expect(isAlive(postmaster)).to.equal(false);
  });

  for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) {
    it(`ends in order at ${signal}, PostgreSQL included`, async () => {
      const server = spawnGrey({ GREY_DATA_DIR: dataDir });
      await server.line("serving");
      const postmaster = await postmasterPid(dataDir);
      server.signal(signal);
      expect(await server.ended).to.include({ code: 0, signal: null });
      expect(isAlive(postmaster)).to.equal(false);
      expect(server.logs.at(-1)).to.include({ message: "stopped" });
    });
  }

  it("ends at once at a second signal, also while it starts, with a status of 1 and without PostgreSQL", async () => {
    const server = spawnGrey({ GREY_DATA_DIR: dataDir });
    await eventually("PostgreSQL", () => postmasterIsThere(dataDir), LINE_MS_MAX);
    const postmaster = await postmasterPid(dataDir);
    server.signal("SIGHUP");
    server.signal("SIGINT");
    const { code } = await server.ended;
    expect(code).to.equal(1);
    await eventually("the end of PostgreSQL", () => !isAlive(postmaster));
  });

  for (const [signal, status] of [
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    it(`\`grey migrate\` at ${signal} leaves no PostgreSQL behind`, async () => {
      const child = spawn(process.execPath, [PROGRAM, "migrate"], {
        env: { PATH: process.env.PATH, GREY_DATA_DIR: dataDir },
        stdio: "ignore",
      });
      children.push(child);
      await eventually("PostgreSQL", () => postmasterIsThere(dataDir), LINE_MS_MAX);
      const postmaster = await postmasterPid(dataDir);
      child.kill(signal);
      expect(await once(child, "exit")).to.deep.equal([status, null]);
      await eventually("the end of PostgreSQL", () => !isAlive(postmaster));
    });
  }

  it("another command ends with its reader, as `head` expects", () => {
    const args = ["-c", '"$0" "$1" config | head -n 1; echo "${PIPESTATUS[0]}"', process.execPath, PROGRAM];
    const text = execFileSync("/bin/bash", args, { env: { PATH: process.env.PATH }, encoding: "utf8" });
    expect(text.trim().split("\n").at(-1)).to.equal("0");
  });
});

async function answers(grey: ReturnType<typeof connect>): Promise<boolean> {
  return grey.users.createUser(ada()).then(
    () => true,
    () => false,
  );
}

function postmasterIsThere(dataDir: string): boolean {
  try {
    return readFileSync(join(dataDir, "postgres", "postmaster.pid"), "utf8").includes("ready");
  } catch {
    return false;
  }
}

function ada() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
