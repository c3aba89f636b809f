import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { endAllGrey, eventually, freePort, spawnGrey } from "../support/process.js";

describe("the banner of the server", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createTestDatabase();
  });
  afterEach(() => endAllGrey());
  after(() => database.drop());

  for (const host of ["127.0.0.1", "[::1]", "localhost", "0.0.0.0"]) {
    it(`on ${host} and a non-default port has commands that work unchanged, at both starts`, async () => {
      for (let start = 0; start < 2; start += 1) {
        const server = spawnGrey({
          DATABASE_URL: database.url,
          GREY_HOST: host,
          GREY_PORT: `${await freePort()}`,
          GREY_LOG_FORMAT: "pretty",
          GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true",
        });
        await eventually("the banner", () => server.text().includes("grpcurl"), 45_000);
        const commands = [...server.text().matchAll(/^ +npx grey (.*)$/gm)].map(([, line]) => line!);
        expect(commands).to.have.length.greaterThan(2);
        for (const command of commands) expect(await run(command), command).to.equal(0);
        server.signal("SIGTERM");
        await server.ended;
      }
    });
  }
});

/** Runs a printed command in a shell without settings. Returns its exit code. */
function run(command: string): Promise<number> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(GREY_|DATABASE_URL$)/.test(name));
  return new Promise((resolve) => {
    const child = execFile(
      "/bin/sh",
      ["-c", `"${process.execPath}" "${join(PROJECT_DIR, "bin/grey.js")}" ${command}`],
      {
        env: Object.fromEntries(inherited),
      },
    );
    child.once("exit", (code) => resolve(code ?? -1));
  });
}
