import { createServer } from "node:net";
import { inspect } from "node:util";
import { once } from "node:events";
import { expect } from "chai";
import pg from "pg";
import { QueryFailedError } from "typeorm";
import { isConflict, isUnavailable, sqlState } from "../../src/db/sqlstate.js";

/** An error as the driver makes it of what PostgreSQL sent. */
function serverError(code: string): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError("said PostgreSQL", 1, "error"), { code });
}

function coded(code: string, message = "no"): Error {
  return Object.assign(new Error(message), { code });
}

const SERVER_ERRORS = [
  { code: "40001", what: "serialization failure", conflict: true, unavailable: false },
  { code: "40P01", what: "deadlock", conflict: true, unavailable: false },
  { code: "08006", what: "connection failure", conflict: false, unavailable: true },
  { code: "53100", what: "disk full", conflict: false, unavailable: true },
  { code: "53300", what: "too many connections", conflict: false, unavailable: true },
  { code: "57014", what: "statement timeout", conflict: false, unavailable: true },
  { code: "57P01", what: "shut down by an operator", conflict: false, unavailable: true },
  { code: "57P03", what: "starting up", conflict: false, unavailable: true },
  { code: "58030", what: "I/O error", conflict: false, unavailable: true },
  { code: "25006", what: "read-only server", conflict: false, unavailable: true },
  { code: "55P03", what: "lock timeout", conflict: false, unavailable: true },
  { code: "23505", what: "unique violation", conflict: false, unavailable: false },
  { code: "23514", what: "check violation", conflict: false, unavailable: false },
  { code: "42501", what: "insufficient privilege", conflict: false, unavailable: false },
  { code: "42P01", what: "undefined table", conflict: false, unavailable: false },
  { code: "22003", what: "out of range", conflict: false, unavailable: false },
  { code: "25P02", what: "in a failed transaction", conflict: false, unavailable: false },
  { code: "XX000", what: "internal error", conflict: false, unavailable: false },
];

describe("an error of PostgreSQL", () => {
  for (const { code, what, conflict, unavailable } of SERVER_ERRORS) {
    const kind = conflict
      ? "a conflict"
      : unavailable
        ? "a database that does not serve"
        : "neither passing nor retried";
    it(`${code} (${what}) is ${kind}, bare and wrapped by TypeORM`, () => {
      const bare = serverError(code);
      for (const error of [bare, new QueryFailedError("SELECT 1", [], bare)]) {
        expect(sqlState(error)).to.equal(code);
        expect(isConflict(error)).to.equal(conflict);
        expect(isUnavailable(error)).to.equal(unavailable);
      }
    });
  }
});

describe("a unique violation", () => {
  it("is a conflict where a request id was used or an email taken at the same moment, and nowhere else", () => {
    const violationOf = (constraint: string) => Object.assign(serverError("23505"), { constraint });
    expect(isConflict(violationOf("requests_pkey"))).to.equal(true);
    expect(isConflict(violationOf("users_email_key"))).to.equal(true);
    expect(isConflict(violationOf("entries_pkey"))).to.equal(false);
  });
});

describe("an error on the way to PostgreSQL", () => {
  const network = [
    "ECONNREFUSED",
    "ECONNRESET",
    "ECONNABORTED",
    "EPIPE",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTFOUND",
    "EAI_AGAIN",
  ];
  for (const code of network) {
    it(`${code} says that the database cannot be reached, and is no SQLSTATE`, () => {
      expect(sqlState(coded(code))).to.equal(undefined);
      expect(isUnavailable(coded(code))).to.equal(true);
      expect(isConflict(coded(code))).to.equal(false);
    });
  }

  const messages = [
    "Connection terminated",
    "Connection terminated unexpectedly",
    "Connection terminated due to connection timeout",
    "timeout expired",
    "timeout exceeded when trying to connect",
    "Client has encountered a connection error and is not queryable",
    "Client was closed and is not queryable",
    "Query read timeout",
    "Cannot use a pool after calling end on the pool",
  ];
  for (const message of messages) {
    it(`"${message}" of the driver says so too`, () => expect(isUnavailable(new Error(message))).to.equal(true));
  }

  const others: readonly unknown[] = [
    new Error("no such table"),
    new Error("the caller said: Connection terminated"),
    new TypeError("x is not a function"),
    coded("ENOENT"),
    coded("EACCES"),
    coded("ERR_INVALID_ARG_TYPE"),
    Object.assign(new Error("no"), { code: 40_001 }),
    "ECONNREFUSED",
    null,
    undefined,
  ];
  for (const error of others) {
    it(`${inspect(error, { compact: true }).split("\n", 1).join("")} is neither`, () => {
      expect(sqlState(error)).to.equal(undefined);
      expect(isUnavailable(error)).to.equal(false);
      expect(isConflict(error)).to.equal(false);
    });
  }

  it("is recognised as the driver really reports it: refused, reset, silent", async () => {
    const server = createServer((socket) => socket.destroy());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    expect(isUnavailable(await connectError(port)), "reset").to.equal(true);
    server.close();
    await once(server, "close");
    expect(isUnavailable(await connectError(port)), "refused").to.equal(true);
    const silent = createServer(() => undefined);
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const error = await connectError((silent.address() as { port: number }).port);
    silent.close();
    expect(isUnavailable(error), "silent").to.equal(true);
  });
});

/** What connecting to the port fails with. */
async function connectError(port: number): Promise<unknown> {
  const client = new pg.Client({ host: "127.0.0.1", port, user: "nobody", connectionTimeoutMillis: 200 });
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (error) {
    return error;
  } finally {
    await client.end().catch(() => undefined);
  }
  throw new Error("connected");
}
