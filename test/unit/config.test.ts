import { expect } from "chai";
import {
  clientAddress,
  displaySetting,
  readConfig,
  SettingError,
  SETTINGS,
  type SettingName,
} from "../../src/config/config.js";

function refusalOf(environment: NodeJS.ProcessEnv): string {
  try {
    readConfig(environment);
  } catch (error) {
    expect(error).to.be.instanceOf(SettingError);
    return (error as Error).message;
  }
  return expect.fail(`${JSON.stringify(environment)} was accepted`);
}

const NAMES = Object.keys(SETTINGS) as SettingName[];

describe("the settings", () => {
  it("have defaults that pass their own rules", () => {
    const config = readConfig({});
    for (const name of NAMES) {
      const hasDefault = SETTINGS[name].default !== undefined;
      expect(config[name] !== undefined, name).to.equal(hasDefault);
    }
    expect(config.GREY_PORT).to.equal(50_051);
    expect(config.GREY_HOST).to.equal("127.0.0.1");
    expect(config.DATABASE_URL).to.equal(undefined);
  });

  it("are each documented, with a unit where there is one", () => {
    for (const name of NAMES) {
      expect(SETTINGS[name].about, name).to.match(/\S{2}/);
      if (name.endsWith("_MS")) expect(SETTINGS[name].about, name).to.match(/\bms\b/);
      if (name.endsWith("_BYTES_MAX")) expect(SETTINGS[name].about, name).to.match(/\bbytes\b/);
    }
  });

  it("that are empty count as unset", () => {
    expect(readConfig(Object.fromEntries(NAMES.map((name) => [name, ""])))).to.deep.equal(readConfig({}));
  });

  it("of other programs are left alone", () => {
    expect(readConfig({ PATH: "/bin", PORT: "x", GREYHOUND: "1", grey_port: "x" })).to.deep.equal(readConfig({}));
  });

  it("that do not exist are refused by name", () => {
    expect(refusalOf({ GREY_PROT: "1" })).to.equal("GREY_PROT: unknown setting");
    expect(refusalOf({ GREY_: "" })).to.match(/^GREY_:/);
  });

  const malformed: readonly (readonly [SettingName, string])[] = [
    ["DATABASE_URL", "mysql://root@localhost/grey"],
    ["DATABASE_URL", "localhost:5432"],
    ["GREY_DATABASE_OWNER_URL", "http://localhost"],
    ["GREY_DATABASE_POOL_SIZE", "2"],
    ["GREY_DATABASE_POOL_SIZE", "ten"],
    ["GREY_DATABASE_STATEMENT_TIMEOUT_MS", "99"],
    ["GREY_MIGRATE_ON_START", "yes"],
    ["GREY_PORT", "65536"],
    ["GREY_PORT", "-1"],
    ["GREY_PORT", "50051.5"],
    ["GREY_PORT", "grpc"],
    ["GREY_EMBEDDED_PORT", "99999"],
    ["GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION", "1"],
    ["GREY_REQUEST_BYTES_MAX", "4MB"],
    ["GREY_CALLS_IN_FLIGHT_MAX", "0"],
    ["GREY_CALL_TIMEOUT_MS", "Infinity"],
    ["GREY_LOG_LEVEL", "loud"],
    ["GREY_LOG_FORMAT", "xml"],
    ["GREY_ADDRESS", "localhost"],
    ["GREY_ADDRESS", "http://localhost:50051"],
  ];
  for (const [name, value] of malformed) {
    it(`refuse ${name}=${value} and name it`, () =>
      expect(refusalOf({ [name]: value })).to.match(new RegExp(`^${name}: \\S`)));
  }

  it("are all named when several are wrong", () => {
    const lines = refusalOf({ GREY_PORT: "x", GREY_LOG_LEVEL: "loud", GREY_NOPE: "1" }).split("\n");
    expect(lines.map((line) => line.replace(/:.*/, "")).sort()).to.deep.equal([
      "GREY_LOG_LEVEL",
      "GREY_NOPE",
      "GREY_PORT",
    ]);
  });

  it("that are refused do not show a password", () => {
    expect(refusalOf({ DATABASE_URL: "mysql://root:hunter2@localhost" })).not.to.include("hunter2");
  });
});

describe("the address to serve on", () => {
  const loopback: readonly (readonly [string, string])[] = [
    ["127.0.0.1", "127.0.0.1"],
    ["127.1.2.3", "127.1.2.3"],
    ["127.1", "127.0.0.1"],
    ["localhost", "localhost"],
    ["LOCALHOST", "localhost"],
    ["localhost.", "localhost."],
    ["::1", "::1"],
    ["[::1]", "::1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["[0000::0001]", "::1"],
    ["::ffff:127.0.0.1", "::ffff:7f00:1"],
  ];
  for (const [host, read] of loopback) {
    it(`may be ${host}`, () => expect(readConfig({ GREY_HOST: host }).GREY_HOST).to.equal(read));
  }

  for (const [host, read] of [
    ["0.0.0.0", "0.0.0.0"],
    ["::", "::"],
    ["[::]", "::"],
    ["::ffff:0.0.0.0", "::ffff:0:0"],
    ["10.0.0.1", "10.0.0.1"],
    ["192.168.1.5", "192.168.1.5"],
    ["2001:DB8::1", "2001:db8::1"],
    ["127.0.0.1.example.com", "127.0.0.1.example.com"],
    ["example.com", "example.com"],
  ] as const) {
    it(`may not be ${host}, unless the setting named for its danger says so`, () => {
      expect(refusalOf({ GREY_HOST: host })).to.match(/^GREY_HOST: /);
      expect(refusalOf({ GREY_HOST: host, GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "false" })).to.match(
        /^GREY_HOST: .* is not loopback/,
      );
      const config = readConfig({ GREY_HOST: host, GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true" });
      expect(config.GREY_HOST).to.equal(read);
    });
  }

  for (const host of [
    "*",
    "127.0.0.1\n0.0.0.0",
    "127.0.0.1:50051",
    "[127.0.0.1]",
    "[::1",
    "::1]",
    "a b",
    "user@host",
    "300.1.1.1",
  ]) {
    it(`is never ${JSON.stringify(host)}, which is no host`, () =>
      expect(refusalOf({ GREY_HOST: host, GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true" })).to.equal(
        "GREY_HOST: must be a host name or an IP address",
      ));
  }
});

describe("the address for other servers", () => {
  const DANGEROUS = { GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true" };

  it("is none unless it is set", () => expect(readConfig({}).GREY_PEER_ADDRESS).to.equal(undefined));

  for (const address of ["127.0.0.1:50061", "[::1]:50061", "localhost:50061"]) {
    it(`may be ${address}`, () => {
      expect(readConfig({ GREY_PEER_ADDRESS: address }).GREY_PEER_ADDRESS).to.equal(address);
    });
  }

  for (const address of ["10.0.0.5:50061", "[2001:db8::1]:50061", "grey-1.example.com:50061"]) {
    it(`may not be ${address}, unless the setting named for its danger says so`, () => {
      expect(refusalOf({ GREY_PEER_ADDRESS: address })).to.match(/^GREY_PEER_ADDRESS: .* is not loopback/);
      expect(readConfig({ ...DANGEROUS, GREY_PEER_ADDRESS: address }).GREY_PEER_ADDRESS).to.equal(address);
    });
  }

  for (const address of ["0.0.0.0:50061", "[::]:50061", "50061", "127.0.0.1", "127.0.0.1:0"]) {
    it(`is never ${address}`, () => {
      expect(refusalOf({ ...DANGEROUS, GREY_PEER_ADDRESS: address })).to.match(/^GREY_PEER_ADDRESS: must be host:port/);
    });
  }
});

describe("the server that client commands call", () => {
  const called: readonly (readonly [NodeJS.ProcessEnv, string])[] = [
    [{}, "127.0.0.1:50051"],
    [{ GREY_PORT: "50152" }, "127.0.0.1:50152"],
    [{ GREY_HOST: "[::1]", GREY_PORT: "50152" }, "[::1]:50152"],
    [{ GREY_HOST: "0.0.0.0", GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true" }, "127.0.0.1:50051"],
    [{ GREY_HOST: "::", GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: "true" }, "[::1]:50051"],
    [{ GREY_PORT: "50152", GREY_ADDRESS: "Example.COM:1" }, "example.com:1"],
    [{ GREY_PORT: "0", GREY_ADDRESS: "[0::1]:1" }, "[::1]:1"],
  ];
  for (const [environment, address] of called) {
    it(`is ${address} with ${JSON.stringify(environment)}`, () =>
      expect(clientAddress(readConfig(environment))).to.equal(address));
  }

  it("is not guessed when the server chooses its port", () => {
    expect(() => clientAddress(readConfig({ GREY_PORT: "0" }))).to.throw(SettingError, /^GREY_ADDRESS: .*--address/);
  });

  for (const text of [
    "localhost",
    "localhost:",
    "localhost:0",
    "localhost:65536",
    "::1:50051",
    "http://a:1",
    "user:pw@host:1",
    ":1",
  ]) {
    it(`is never ${text}`, () =>
      expect(refusalOf({ GREY_ADDRESS: text })).to.match(/^GREY_ADDRESS: must be host:port/));
  }
});

describe("the endpoints of telemetry", () => {
  it("are web URLs or refused by name, and not shown", () => {
    for (const name of ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]) {
      expect(readConfig({ [name]: "https://user:pw@collector:4318/x" })).to.deep.equal(readConfig({}));
      for (const value of ["collector:4317", "http://user:canary@[::1", "ftp://canary"]) {
        expect(refusalOf({ [name]: value })).to.equal(`${name}: must be an http:// or https:// URL`);
      }
    }
  });
});

describe("a setting for people", () => {
  const masked = [
    { url: "postgres://grey:hunter2@db.example.com:5432/grey", shown: "postgres://grey:***@db.example.com:5432/grey" },
    { url: "postgresql://grey@db/grey", shown: "postgres://grey@db:5432/grey" },
    { url: "postgres://db/grey?user=grey&password=hunter2", shown: "postgres://grey:***@db:5432/grey" },
  ];
  for (const name of NAMES.filter((one) => "secret" in SETTINGS[one])) {
    for (const { url, shown } of masked) {
      it(`shows ${name}=${url.replace("hunter2", "…")} as ${shown}`, () => {
        expect(displaySetting(name, readConfig({ [name]: url }))).to.equal(shown);
      });
    }
  }

  it("that can hold a password is a secret", () => {
    for (const name of NAMES.filter((one) => /URL|SECRET|PASSWORD|TOKEN|_KEY/.test(one)))
      expect(SETTINGS[name], name).to.have.property("secret", true);
  });

  it("is shown as it is, or as unset", () => {
    const config = readConfig({ GREY_PORT: "1234" });
    expect(displaySetting("GREY_PORT", config)).to.equal("1234");
    expect(displaySetting("GREY_MIGRATE_ON_START", config)).to.equal("true");
    expect(displaySetting("DATABASE_URL", config)).to.equal("(unset)");
  });

  it("that are malformed are told with what they must be, and never with a secret", () => {
    expect(refusalOf({ GREY_PORT: "abc" })).to.equal("GREY_PORT: must be a whole number from 0 to 65535, not abc");
    expect(refusalOf({ GREY_LOG_LEVEL: "x" })).to.equal("GREY_LOG_LEVEL: must be error, warn, info or debug, not x");
    for (const name of NAMES) {
      if (name === "GREY_DATA_DIR") continue;
      const message = refusalOf({ [name]: "a b:geheim" });
      expect(message, name).to.match(new RegExp(`^${name}: must `));
      if ("secret" in SETTINGS[name]) expect(message, name).not.to.include("geheim");
    }
  });
});
