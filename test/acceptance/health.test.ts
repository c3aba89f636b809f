import { credentials, type ClientReadableStream } from "@grpc/grpc-js";
import { expect } from "chai";
import pg from "pg";
import {
  HealthCheckResponse_ServingStatus as Status,
  HealthClient,
  type HealthCheckResponse,
} from "../../generated/grpc/health/v1/health.js";
import { connect, refusal } from "../support/client.js";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { eventually, freePort, createRoute, type Route } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

const SERVICES = [
  "",
  "grey.user.v1.UserService",
  "grey.wallet.v1.WalletService",
  "grey.transaction.v1.TransactionService",
  "grey.ledger.v1.LedgerService",
  "grey.schedule.v1.ScheduleService",
  "grey.alert.v1.AlertService",
];

describe("health", () => {
  let database: TestDatabase;
  let way: Route;
  let server: TestServer | undefined;
  let health: HealthClient | undefined;

  beforeEach(async () => {
    database = await createTestDatabase();
    way = await createRoute(database.url);
  });
  afterEach(async () => {
    health?.close();
    await server?.stop();
    server = undefined;
    await way.cut();
    await database.drop();
  });

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<HealthClient> {
    await way.open();
    server = await startServer({ DATABASE_URL: way.url, ...settings });
    health = new HealthClient(server.address, credentials.createInsecure());
    return health;
  }

  it("is SERVING for the server and for each of its services, and NOT_FOUND for another", async () => {
    const client = await start();
    for (const service of SERVICES) expect(await check(client, service), service).to.equal(Status.SERVING);
    const unknown = await check(client, "grey.nothing.v1.Nothing").catch((error: { code: number }) => error.code);
    expect(unknown).to.equal(5);
  });

  it("is NOT_SERVING while the database is not there yet, calls are answered with a delay to retry after, and SERVING once it is", async () => {
    const port = await freePort();
    const starting = startServer({ DATABASE_URL: way.url, GREY_PORT: `${port}` });
    const client = new HealthClient(`127.0.0.1:${port}`, credentials.createInsecure());
    const grey = connect(`127.0.0.1:${port}`);
    health = client;
    await eventually("a server", () =>
      check(client).then(
        () => true,
        () => false,
      ),
    );
    for (const service of SERVICES) expect(await check(client, service), service).to.equal(Status.NOT_SERVING);
    const watched = watch(client);
    const early = await refusal(grey.users.listUsers({ pageSize: 0, pageToken: "" }));
    expect(early).to.include({ code: "UNAVAILABLE", reason: "DATABASE_UNAVAILABLE", retryAfterMs: 1_000 });

    await way.open();
    server = await starting;
    await eventually("SERVING", () => watched.seen.at(-1) === Status.SERVING);
    expect(watched.seen).to.deep.equal([Status.NOT_SERVING, Status.SERVING]);
    for (const service of SERVICES) expect(await check(client, service), service).to.equal(Status.SERVING);
    await grey.users.listUsers({ pageSize: 0, pageToken: "" });
    watched.stream.cancel();
    grey.close();
  });

  it("is NOT_SERVING when the database becomes unavailable, and SERVING when it is back, without a restart", async () => {
    const client = await start();
    const watched = [watch(client), watch(client, "grey.transaction.v1.TransactionService")];
    await eventually("both watches", () => watched.every(({ seen }) => seen.length === 1));
    await way.cut();
    await eventually("NOT_SERVING", () => watched.every(({ seen }) => seen.at(-1) === Status.NOT_SERVING));
    for (const service of SERVICES) expect(await check(client, service), service).to.equal(Status.NOT_SERVING);
    await way.open();
    await eventually("SERVING", () => watched.every(({ seen }) => seen.at(-1) === Status.SERVING));
    for (const { seen, stream } of watched) {
      expect(seen).to.deep.equal([Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
      stream.cancel();
    }
  });

  it("is NOT_SERVING when the database refuses new sessions", async () => {
    const client = await start();
    const watched = watch(client);
    const admin = new pg.Client(databaseOf(database.url, "postgres"));
    await admin.connect();
    const name = new URL(database.url).pathname.slice(1);
    await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [name]);
    await eventually("NOT_SERVING", () => watched.seen.at(-1) === Status.NOT_SERVING);
    await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    await admin.end();
    await eventually("SERVING", () => watched.seen.at(-1) === Status.SERVING);
    watched.stream.cancel();
  });

  it("is NOT_SERVING while the server drains, though it continues to answer until GREY_DRAIN_MS is over", async () => {
    // Longer than the time between two looks at the database, which is still there.
    const drainMs = 3_000;
    const client = await start({ GREY_DRAIN_MS: `${drainMs}` });
    const grey = connect(server!.address);
    const watched = watch(client);
    await eventually("SERVING", () => watched.seen.at(-1) === Status.SERVING);
    const started = Date.now();
    const stopped = server!.stop();
    server = undefined;
    await eventually("NOT_SERVING", () => watched.seen.at(-1) === Status.NOT_SERVING);
    for (const service of SERVICES) expect(await check(client, service), service).to.equal(Status.NOT_SERVING);
    await grey.users.listUsers({ pageSize: 0, pageToken: "" });
    await stopped;
    expect(Date.now() - started).to.be.at.least(drainMs);
    expect(watched.seen).to.deep.equal([Status.SERVING, Status.NOT_SERVING]);
    await eventually("the end of the watch", () => watched.hasEnded());
    grey.close();
  });
});

function check(client: HealthClient, service = ""): Promise<Status> {
  return new Promise((resolve, reject) => {
    client.check({ service }, (error, response) => (error === null ? resolve(response.status) : reject(error)));
  });
}

/** What a watch of the service has seen so far. */
function watch(
  client: HealthClient,
  service = "",
): { seen: readonly Status[]; stream: ClientReadableStream<HealthCheckResponse>; hasEnded: () => boolean } {
  const seen: Status[] = [];
  let hasEnded = false;
  const stream = client.watch({ service });
  stream.on("data", ({ status }: HealthCheckResponse) => seen.push(status));
  stream.on("error", () => undefined);
  stream.on("status", () => (hasEnded = true));
  return { seen, stream, hasEnded: () => hasEnded };
}

function databaseOf(url: string, name: string): string {
  const other = new URL(url);
  other.pathname = `/${name}`;
  return other.href;
}
