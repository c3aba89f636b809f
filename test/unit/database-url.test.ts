import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import pg from "pg";
import { describeDatabase, maskDatabaseUrl, readDatabaseUrl } from "../../src/config/database-url.js";

/** What the driver makes of the URL. */
function driverOf(text: string) {
  const { host, port, user, password, database, ssl } = new pg.Client({
    connectionString: readDatabaseUrl(text),
  }) as pg.Client & {
    readonly ssl: unknown;
  };
  return { host, port, user, password: password ?? undefined, database, ssl };
}

function refusalOf(text: string): string {
  try {
    readDatabaseUrl(text);
  } catch (error) {
    return (error as Error).message;
  }
  return expect.fail(`${text} was accepted`);
}

describe("a URL of PostgreSQL", () => {
  let folder: string;
  let certificate: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "grey url "));
    certificate = join(folder, "authority.pem");
    writeFileSync(certificate, "certificate");
  });
  after(() => rmSync(folder, { recursive: true }));

  const plain = { host: "db", port: 5432, user: "ada", password: undefined, database: "grey", ssl: false };
  const understood: readonly (readonly [string, Partial<typeof plain> | { password: string }])[] = [
    ["postgres://ada@db/grey", {}],
    [" postgresql://ada@db:6000/grey\n", { port: 6000 }],
    ["postgres://db/grey?user=ada&port=6000", { port: 6000 }],
    ["postgres:///grey?user=ada", { host: "localhost" }],
    ["postgres://ada@/grey", { host: "localhost" }],
    ["postgres://ada@db", { database: "ada" }],
    ["postgres://db", { user: userInfo().username, database: userInfo().username }],
    ["postgres://ada:p%40%3A%2F%3F%23%25%20%C3%BC@db/grey", { password: "p@:/?#% ü" }],
    ["postgres://ada:p@ss:word@db/grey", { password: "p@ss:word" }],
    ["postgres://ada@db/grey?password=p%40%26%3D%2B", { password: "p@&=+" }],
    ["postgres://ada@db/b%C3%BCcher", { database: "bücher" }],
    ["postgres://ada@[::1]:6000/grey", { host: "::1", port: 6000 }],
    ["postgres://ada@/grey?host=::1", { host: "::1" }],
    ["postgres://ada@DB.Example.com/grey", { host: "DB.Example.com" }],
    ["postgres:///grey?host=/var/run/postgresql&user=ada&port=6000", { host: "/var/run/postgresql", port: 6000 }],
    ["postgres://ada@%2Fvar%2Frun/grey", { host: "/var/run" }],
    ["postgres://ada@db/grey?sslmode=disable", { ssl: false }],
    [
      "postgres://ada@db/grey?sslmode=disable&channel_binding=prefer&target_session_attrs=read-write&client_encoding=UTF8",
      {},
    ],
  ];
  for (const [text, expected] of understood) {
    it(`such as ${text.trim()} means the same to whoever parses it`, () => {
      expect(driverOf(text)).to.deep.equal({ ...plain, ...expected });
      const again = readDatabaseUrl(readDatabaseUrl(text));
      expect(again).to.equal(readDatabaseUrl(text));
      expect(URL.canParse(again)).to.equal(true);
    });
  }

  it("is encrypted and checked as its sslmode says, without a warning of the driver", () => {
    const warned: string[] = [];
    const onWarning = (warning: Error): void => void warned.push(warning.message);
    process.on("warning", onWarning);
    const file = encodeURIComponent(certificate);
    const tlsOf = (query: string): unknown => driverOf(`postgres://ada@db/grey?${query}`).ssl;
    for (const query of [
      "sslmode=require",
      "sslmode=verify-full",
      "ssl=true",
      "ssl=1",
      "sslrootcert=system&sslmode=verify-full",
    ]) {
      expect(tlsOf(query), query).to.deep.equal({});
    }
    expect(tlsOf("sslmode=no-verify")).to.deep.equal({ rejectUnauthorized: false });
    for (const query of [`sslmode=require&sslrootcert=${file}`, `sslrootcert=${file}`]) {
      expect(tlsOf(query), query).to.deep.equal({ ca: "certificate" });
    }
    expect(tlsOf(`sslmode=verify-ca&sslrootcert=${file}`)).to.have.all.keys("ca", "checkServerIdentity");
    expect(tlsOf(`sslmode=require&sslcert=${file}&sslkey=${file}`)).to.include({
      cert: "certificate",
      key: "certificate",
    });
    process.off("warning", onWarning);
    expect(warned).to.deep.equal([]);
  });

  const refused: readonly (readonly [string, RegExp])[] = [
    ["mysql://ada@db/grey", /^must be a postgres:\/\/ URL$/],
    ["/var/run/postgresql grey", /^must be a postgres:/],
    ["postgres://ada:canary@a,b/grey", /several hosts/],
    ["postgres://ada:canary@a:1,b:2/grey", /several hosts/],
    ["postgres:///grey?host=a,b", /several hosts/],
    ["postgres://ada:canary@db/grey?sslmode=prefer", /sslmode is disable, require/],
    ["postgres://ada:canary@db/grey?ssl=maybe", /sslmode is disable, require/],
    ["postgres://ada:canary@db/grey?sslmode=verify-ca", /needs sslrootcert/],
    [
      "postgres://ada:canary@db/grey?sslrootcert=/no/such/file",
      /sslrootcert=\/no\/such\/file, a file that cannot be read \(ENOENT\)/,
    ],
    ["postgres://ada:canary@db/grey?sslkey=/no/such/file&sslmode=require", /sslkey=/],
    ["postgres://ada:canary@db/grey?sslcert=/etc/passwd&sslmode=disable", /beside sslmode=disable/],
    ["postgres://ada:canary@db/grey?pgbouncer=true", /the parameter pgbouncer, which Grey does not take/],
    ["postgres://ada:canary@db/grey?channel_binding=require", /channel_binding with a value other than/],
    ["postgres://ada:canary@db/grey?target_session_attrs=standby", /target_session_attrs/],
    ["postgres://ada:canary@db/grey?connect_timeout=3", /GREY_DATABASE_CONNECT_TIMEOUT_MS/],
    ["postgres://ada:canary@db/grey?user=a&user=b", /user twice/],
    ["postgres://ada:canary@db:0/grey", /no port/],
    ["postgres://ada:canary@db:65536/grey", /no port/],
    ["postgres://ada:canary", /no port/],
    ["postgres://ada:canary@:5432/grey", /no host/],
    ["postgres://ada:canary@[::1/grey", /no host|no port/],
    ["postgres://ada:canary@[db]/grey", /no host/],
    ["postgres://ada:canary@db/a/b", /names a database/],
    // Passwords that are not percent-encoded.
    ["postgres://ada:5#canary@db/grey", /%23/],
    ["postgres://ada:5/canary@db/grey", /%2F/],
    ["postgres://ada:5?canary@db/grey", /%3F/],
    ["postgres://ada:5?canary=1@db/grey", /%3F/],
    ["postgres://ada:100%canary@db/grey", /%25/],
    ["postgres://ada:5 canary@db/grey", /%20/],
    ["postgres://ada@db/grey?password=100%canary", /%25/],
  ];
  for (const [text, message] of refused) {
    it(`such as ${text} is refused with a sentence and without the password`, () => {
      expect(refusalOf(text)).to.match(message).and.not.include("canary");
    });
  }

  it("is shown to people without user and password, a socket as the file it is", () => {
    for (const [text, shown] of [
      ["postgres://ada:canary@db/grey", "PostgreSQL at db:5432/grey"],
      ["postgres://ada:canary@[::1]:6000/grey", "PostgreSQL at [::1]:6000/grey"],
      [
        "postgres:///grey?host=/var/run/postgresql&port=6000&password=canary",
        "PostgreSQL at /var/run/postgresql/.s.PGSQL.6000, database grey",
      ],
    ] as const) {
      expect(describeDatabase(readDatabaseUrl(text))).to.equal(shown);
      expect(maskDatabaseUrl(readDatabaseUrl(text)))
        .to.include(":***@")
        .and.not.include("canary");
    }
  });
});
