import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect } from "chai";
import { PROJECT_DIR } from "../../src/config/config.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { endAllGrey, freePort, spawnGrey, startGreyProcess } from "../support/process.js";

/** A password that must be nowhere; as letters, since a part of it is looked for too. */
const SECRET = "canarysecret";
const TRACE = /canary|secret|hidden/i;

describe("the secrets of a URL", () => {
  let database: TestDatabase;
  let port: number;

  before(async () => {
    database = await createTestDatabase();
    port = await freePort();
  });
  afterEach(() => endAllGrey());
  after(() => database.drop());

  const malformed = [
    `postgres://ada:${SECRET}@a:1,b:2/grey`,
    `postgres://ada:5#${SECRET}@db/grey`,
    `postgres://ada:5/${SECRET}@db/grey`,
    `postgres://ada:5?${SECRET}@db/grey`,
    `postgres://ada:5?${SECRET}=1@db/grey`,
    `postgres://ada:100%${SECRET}@db/grey`,
    `postgres://ada:${SECRET}@[::1/grey`,
    `postgres://ada:${SECRET}`,
    `postgres://db/grey?password=${SECRET}&sslmode=sometimes`,
    `mysql://ada:${SECRET}@db/grey`,
    SECRET,
  ];
  const readable = () => [
    `postgres://ada:${SECRET}@127.0.0.1:${port}/grey`,
    `postgres://127.0.0.1:${port}/grey?user=ada&password=${SECRET}`,
    `postgres://ada:${SECRET}@no-such-host.invalid/grey`,
    `postgres://ada:${SECRET}@/grey?host=/no/such/folder`,
  ];

  /** Everything that the command prints, on both outputs. */
  function printed(args: readonly string[], settings: Readonly<Record<string, string>>): Promise<string> {
    return new Promise((resolve) => {
      const env = { PATH: process.env.PATH, GREY_LOG_LEVEL: "debug", GREY_PORT: "0", ...settings };
      execFile(process.execPath, [join(PROJECT_DIR, "bin/grey.js"), ...args], { env }, (_error, out, err) =>
        resolve(out + err),
      );
    });
  }

  for (const name of ["DATABASE_URL", "GREY_DATABASE_OWNER_URL"]) {
    it(`are in no output when ${name} is malformed, while the error names the setting`, async () => {
      for (const url of malformed) {
        const served = await printed(["serve"], { [name]: url });
        expect(served, url)
          .to.match(new RegExp(`^grey: ${name}: `))
          .and.not.match(TRACE);
        const shown = await printed(["config", "--json"], { [name]: url });
        expect(shown, url)
          .to.match(new RegExp(`^\\{"error":\\{"kind":"wrong_use".*"message":"${name}: `))
          .and.not.match(TRACE);
      }
    });
  }

  it("are in no output when GREY_ADDRESS or a telemetry endpoint contains them", async () => {
    for (const [name, value] of [
      ["GREY_ADDRESS", `ada:${SECRET}@db:1`],
      ["OTEL_EXPORTER_OTLP_ENDPOINT", `http://ada:${SECRET}@[::1`],
      ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", `ftp://ada:${SECRET}@db`],
    ] as const) {
      const text = await printed(["user", "list"], { [name]: value });
      expect(text)
        .to.match(new RegExp(`^grey: ${name}: `))
        .and.not.match(TRACE);
    }
  });

  it("are in no output when the database cannot be reached or refuses them", async () => {
    const wrong = new URL(database.url);
    wrong.password = SECRET;
    for (const url of [...readable(), wrong.href]) {
      for (const args of [["migrate"], ["migrate", "--check"], ["config"], ["config", "--json"]]) {
        expect(await printed(args, { DATABASE_URL: url }), `${args.join(" ")} ${url}`).not.match(TRACE);
      }
    }
    for (const url of readable()) {
      const server = spawnGrey({ DATABASE_URL: url, GREY_LOG_LEVEL: "debug" });
      await server.line("the database cannot be reached yet");
      server.signal("SIGTERM");
      const { out, err } = await server.ended;
      expect(out + err, url).not.match(TRACE);
    }
  });

  it("are in no output of a running server", async () => {
    const { password } = new URL(database.url);
    const server = await startGreyProcess({ DATABASE_URL: database.url, GREY_LOG_LEVEL: "debug" });
    server.signal("SIGTERM");
    const { out, err } = await server.ended;
    const text = out + err + (await printed(["config"], { DATABASE_URL: database.url }));
    expect(text).not.to.include(password === "" ? SECRET : password);
  });
});
