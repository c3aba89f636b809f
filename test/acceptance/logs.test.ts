import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { expect } from "chai";
import pg from "pg";
import { PROJECT_DIR } from "../../src/config/config.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { connectRaw, frame, postBare, type RawClient } from "../support/raw-call.js";
import { startServer, type TestServer } from "../support/server.js";
import { endAllGrey, eventually, startGreyProcess } from "../support/process.js";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const HEADERS = { traceparent: `00-${TRACE_ID}-b7ad6b7169203331-01` };

/** What must never be in a log: amounts, and what people and clients write. */
const CANARY = "canary";
const AMOUNT = 918_273_645n;

describe("the log", () => {
  let server: TestServer;
  let grey: Clients;
  let raw: RawClient;

  before(async () => {
    server = await startServer();
    grey = connect(server.address);
    raw = connectRaw(server.address);
  });
  after(async () => {
    raw.close();
    grey.close();
    await endAllGrey();
    await server.stop();
  });

  /** The lines of one request. */
  async function linesOf(requestId: string): Promise<readonly Record<string, unknown>[]> {
    const find = () => server.logs.filter((line) => line.requestId === requestId);
    // The line comes after the answer.
    await eventually("the call's line", () => find().length > 0);
    return find();
  }

  it("has one line for a call that is answered: method, code, duration, request and trace id", async () => {
    const request = user();
    await grey.users.createUser(request, HEADERS);
    const lines = await linesOf(request.requestId);
    expect(lines).to.have.length(1);
    const [{ durationMs, ...line } = {}] = lines;
    expect(line).to.deep.equal({
      level: "info",
      message: "call",
      method: "/grey.user.v1.UserService/CreateUser",
      code: "OK",
      requestId: request.requestId,
      traceId: TRACE_ID,
    });
    expect(durationMs).to.be.a("number").that.is.above(0).and.below(60_000);
  });

  it("has one line for a call that is refused, with the reason and nothing of the request", async () => {
    const requestId = randomUUID();
    const { traceId } = await refusal(grey.users.deleteUser({ requestId, userId: randomUUID(), etag: "" }));
    const lines = await linesOf(requestId);
    expect(lines).to.have.length(1);
    const [{ durationMs, ...line } = {}] = lines;
    expect(durationMs).to.be.a("number");
    expect(line).to.deep.equal({
      level: "info",
      message: "call",
      method: "/grey.user.v1.UserService/DeleteUser",
      code: "NOT_FOUND",
      reason: "USER_NOT_FOUND",
      requestId,
      traceId,
    });
  });

  it("has one line for a stream, with its numbers of items and of refusals", async () => {
    const stream = "/grey.transaction.v1.TransactionService/StreamTransfers";
    // A message without its transfer.
    await raw.stream(stream, Buffer.from([0x08, 7]), { headers: { ...HEADERS, "x-request-id": "the-stream" } });
    const lines = await linesOf("the-stream");
    expect(lines).to.have.length(1);
    expect(lines[0]).to.include({
      message: "call",
      method: stream,
      code: "OK",
      items: 1,
      refused: 1,
      traceId: TRACE_ID,
    });
  });

  it("has as many lines of calls as there were calls", async () => {
    const count = () => server.logs.filter((line) => line.message === "call").length;
    const before = count();
    await Promise.all([
      ...Array.from({ length: 10 }, () => grey.users.createUser(user())),
      ...Array.from({ length: 10 }, () => refusal(grey.users.listUsers({ pageSize: -1, pageToken: "" }))),
      ...Array.from({ length: 10 }, () => raw.call("/grey.user.v1.UserService/GetUser", Buffer.from([0xff]))),
    ]);
    await eventually("a line for each call", () => count() - before >= 30);
    expect(count() - before).to.equal(30);
  });

  it("holds no name, email, label, description, metadata, amount or token, whatever the outcome of the call", async () => {
    const metadata = { [`${CANARY}-key`]: `${CANARY}-value` };
    const name = `${CANARY} name`;
    const email = `${CANARY}@example.com`;
    const { user: made } = await grey.users.createUser({ requestId: randomUUID(), name, email, metadata });
    const openWallet = async (): Promise<string> => {
      const answer = await grey.wallets.createWallet({
        requestId: randomUUID(),
        userId: made!.id,
        currencyCode: "USD",
        label: `${CANARY} label`,
        metadata,
        initialBalance: { currencyCode: "USD", minorUnits: AMOUNT },
      });
      return answer.wallet!.id;
    };
    const [from, to] = [await openWallet(), await openWallet()];
    const transfer = (minorUnits: bigint) => ({
      requestId: randomUUID(),
      fromWalletId: from,
      toWalletId: to,
      amount: { currencyCode: "USD", minorUnits },
      description: `${CANARY} description`,
      metadata,
      effectiveTime: undefined,
    });
    await grey.transactions.transfer(transfer(AMOUNT));
    const calls = [
      () => grey.transactions.transfer(transfer(AMOUNT + 1n)),
      () => grey.transactions.transfer({ ...transfer(AMOUNT), description: `${CANARY}\r\n` }),
      () => grey.transactions.transfer({ ...transfer(-AMOUNT), metadata: { [`${CANARY} key`]: CANARY } }),
      () => grey.users.createUser({ requestId: randomUUID(), name, email, metadata }),
      () => grey.users.createUser({ requestId: randomUUID(), name, email: `${CANARY} at example.com`, metadata }),
      () => grey.users.getUser({ by: { $case: "email", value: `${CANARY}.2@example.com` } }),
      () => grey.users.listUsers({ pageSize: 1, pageToken: CANARY }),
      () => grey.users.deleteUser({ requestId: randomUUID(), userId: made!.id, etag: CANARY }),
      () => grey.users.getUser({ by: { $case: "id", value: CANARY } }),
    ];
    for (const ask of calls) await refusal(ask());
    await provokeFault(name, email, metadata);
    await eventually("a fault", () => server.logs.some((line) => line.message === "fault"));
    const everything = JSON.stringify(server.logs);
    expect(everything).to.include("CreateUser");
    expect(everything).not.to.include(CANARY);
    expect(everything).not.to.include(`${AMOUNT}`);
    expect(everything).not.to.include(`${AMOUNT + 1n}`);
  });

  /** PostgreSQL's own message about a row names its values. */
  async function provokeFault(name: string, email: string, metadata: Record<string, string>): Promise<void> {
    const admin = new pg.Client(server.databaseUrl);
    await admin.connect();
    await admin.query("ALTER TABLE users ADD CONSTRAINT unforeseen CHECK (name = 'nobody') NOT VALID");
    const request = { requestId: randomUUID(), name, email: `1.${email}`, metadata };
    const { reason } = await refusal(grey.users.createUser(request));
    await admin.query("ALTER TABLE users DROP CONSTRAINT unforeseen");
    await admin.end();
    expect(reason).to.equal("INTERNAL");
  }

  it("cannot be forged by a header: unsafe text is ignored, safe text stays in its field", async () => {
    const forged = '","level":"error","message":"forged';
    await grey.users.listUsers({ pageSize: 1, pageToken: "" }, { "x-request-id": forged });
    const [line] = await linesOf(forged);
    expect(line).to.include({ level: "info", message: "call", requestId: forged });
    for (const id of ["a\tb", "a b", "x".repeat(129), "\u00e9"]) {
      await postBare(server.address, "/grey.user.v1.UserService/ListUsers", frame(Buffer.alloc(0)), {
        "x-request-id": id,
      });
    }
    expect(server.logs.some((one) => one.message === "forged")).to.equal(false);
    for (const { requestId } of server.logs.filter((one) => one.message === "call")) {
      expect(requestId).to.match(/^[!-~]{1,128}$/);
    }
  });

  it("is everything that a server prints: invalid header values are printed nowhere", async () => {
    const other = await startGreyProcess({ DATABASE_URL: server.databaseUrl });
    for (const value of [`${CANARY}\t1`, `${CANARY}\u00e9`]) {
      await postBare(other.address, "/grey.user.v1.UserService/ListUsers", frame(Buffer.alloc(0)), {
        "x-request-id": value,
        "x-other": value,
        "grpc-timeout": value.slice(0, 6),
      });
      await postBare(other.address, `/grey.user.v1.${CANARY}/ListUsers`, frame(Buffer.alloc(0)));
    }
    other.signal("SIGTERM");
    const { out, err, code } = await other.ended;
    expect(err).to.equal("");
    expect(out).not.to.include(CANARY);
    expect(code).to.equal(0);
  });

  for (const form of ["json", "pretty"]) {
    it(`in the form ${form} gives each entry one line, without control characters, whatever it holds`, async () => {
      const nasty = "a\r\nERROR forged\u001b[2J\u0085\u2028b\u202ec\0";
      const out = await printed(form, nasty);
      const lines = out.split("\n");
      expect(lines).to.have.length(2);
      expect(lines[1]).to.equal("");
      // The level may be coloured.
      // oxlint-disable-next-line no-control-regex -- they are what is looked for
      const text = lines[0]!.replaceAll(/\u001b\[\d+m/g, "");
      // oxlint-disable-next-line no-control-regex -- they are what is looked for
      expect(text).not.to.match(form === "json" ? /[\u0000-\u001f]/ : /[\u0000-\u001f\u007f-\u009f\u2028\u202e]/);
      expect(text).to.include("entry").and.to.include("a").and.to.include("c");
    });
  }
});

/** What the server's logger prints for an entry with this value. */
function printed(form: string, value: string): Promise<string> {
  const module = join(PROJECT_DIR, "dist/src/telemetry/logger.js");
  const code = `
    const { createServerLogger } = await import(${JSON.stringify(module)});
    const logger = createServerLogger({ GREY_LOG_LEVEL: "info", GREY_LOG_FORMAT: ${JSON.stringify(form)} });
    logger.info("entry", { value: ${JSON.stringify(value)} });`;
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ["--input-type=module", "--eval", code], (error, out) => {
      if (error === null) resolve(out);
      else reject(error);
    });
  });
}

function user() {
  return { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
}
