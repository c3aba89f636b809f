import { expect } from "chai";
import { randomUUID } from "node:crypto";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { connect, refusal, type Clients } from "../support/client.js";
import { startFaultProxy, type FaultProxy } from "../support/fault-proxy.js";
import { findViolations } from "../support/invariants.js";
import {
  sendOnce,
  repeatAll,
  retryUntilAnswered,
  ClientJournal,
  makeDeposit,
  openWallets,
  planMovements,
  startLoad,
  makeTransfer,
  type Movement,
} from "../support/load.js";
import { startServer, type TestServer } from "../support/server.js";

/**
 * The maximum duration of a call in a black hole. The monitor probes every 2 s with a timeout of 1 s; then the call, and two
 * batches before it, each wait 1 s for a connection.
 */
const CALL_MS_MAX = 12_000;
const RECOVERY_MS_MAX = 5_000;
const ATTEMPT_MS = 1_000;
const RETRY_AFTER_MS = 20;

describe("the network to the database", () => {
  let database: TestDatabase;
  let proxy: FaultProxy;
  let server: TestServer;
  let clients: Clients;
  let journal: ClientJournal;
  let wallets: string[];

  before(async () => {
    database = await createTestDatabase();
    proxy = await startFaultProxy(database.url);
    server = await startServer({
      DATABASE_URL: proxy.url,
      GREY_RETRY_AFTER_MS: `${RETRY_AFTER_MS}`,
      GREY_DATABASE_CONNECT_TIMEOUT_MS: "1000",
      GREY_DATABASE_POOL_SIZE: "3",
      // The sweeps would spring traps that are for calls, and hold the connections of a pool as small as this in a black hole.
      GREY_HOLD_EXPIRY_EVERY_MS: "60000",
      GREY_SCHEDULE_EVERY_MS: "60000",
      GREY_ALERT_EVERY_MS: "60000",
      GREY_DATABASE_STATEMENT_TIMEOUT_MS: "1000",
      GREY_SHUTDOWN_TIMEOUT_MS: "1000",
    });
    clients = connect(server.address);
    journal = new ClientJournal();
    wallets = await openWallets(clients, journal, 3, 10_000n);
  });
  after(async () => {
    clients.close();
    await server.stop();
    await proxy.stop();
    await database.drop();
  });

  afterEach("no error that Grey does not know", () => {
    proxy.thaw();
    proxy.setLatencyMs(0);
    expect(server.logs.filter(({ message }) => message === "fault")).to.deep.equal([]);
  });

  /** Resolves once a movement is answered. */
  async function servesWithin(ms: number): Promise<void> {
    const started = performance.now();
    await retryUntilAnswered([clients], journal, makeDeposit(wallets[0] ?? "", 1n), ATTEMPT_MS);
    expect(performance.now() - started, "until it serves again").to.be.lessThan(ms);
  }

  async function expectWholeBooks(movements: readonly Movement[]): Promise<void> {
    await repeatAll(clients, journal, movements);
    expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
  }

  for (const way of ["thaw", "forget"] as const) {
    const what = way === "thaw" ? "that ends" : "that never gives a connection back";
    it(`is a black hole ${what}: calls end in time, and the pool recovers without a restart`, async () => {
      const movements = planMovements(wallets, 100);
      const load = startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: ATTEMPT_MS });
      await load.answered(40);
      proxy.blackHole();
      const [from = "", to = ""] = wallets;
      const caught = makeTransfer(from, to, 1n);
      const ended = await Promise.all([
        refusal(clients.wallets.getBalance({ walletId: from }, {}, CALL_MS_MAX)),
        refusal(
          clients.users.createUser(
            { requestId: randomUUID(), name: "Ada", email: "ada@example.com", metadata: {} },
            {},
            CALL_MS_MAX,
          ),
        ),
        sendOnce(clients, journal, caught, CALL_MS_MAX).then(() =>
          journal.setbacks.findLast(({ requestId }) => requestId === caught.requestId),
        ),
      ]);
      for (const error of ended) expect(error).to.include({ code: "UNAVAILABLE", retryAfterMs: RETRY_AFTER_MS });

      proxy[way]();
      await servesWithin(RECOVERY_MS_MAX);
      await load.done;
      await expectWholeBooks([...movements, caught]);
      const codes = new Set(journal.setbacks.map(({ code }) => code));
      expect([...codes].filter((code) => code !== "UNAVAILABLE" && code !== "DEADLINE_EXCEEDED")).to.deep.equal([]);
    });
  }

  it("silences the connections that calls use, but not the monitor's: the pool recovers without a restart", async () => {
    const movements = planMovements(wallets, 60);
    const load = startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: ATTEMPT_MS });
    await load.answered(30);
    proxy.silence((applicationName) => applicationName !== "grey-watch");
    await load.done;
    await expectWholeBooks(movements);
  });

  it("refuses connections: calls get UNAVAILABLE with RetryInfo, and the server serves once it accepts them again", async () => {
    await proxy.refuse();
    const [from = "", to = ""] = wallets;
    const movement = makeTransfer(from, to, 3n);
    expect(await sendOnce(clients, journal, movement, 5_000)).to.equal(undefined);
    const { code, retryAfterMs } = journal.setbacks.at(-1) ?? {};
    expect({ code, retryAfterMs }).to.deep.equal({ code: "UNAVAILABLE", retryAfterMs: RETRY_AFTER_MS });
    await proxy.accept();
    await servesWithin(RECOVERY_MS_MAX);
    await retryUntilAnswered([clients], journal, movement);
    await expectWholeBooks([movement]);
  });

  const reads: readonly (readonly [what: string, read: () => Promise<unknown>])[] = [
    ["GetUser", () => clients.users.getUser({ by: { $case: "id", value: randomUUID() } })],
    ["ListUsers", () => clients.users.listUsers({ pageSize: 0, pageToken: "" })],
    ["GetWallet", () => clients.wallets.getWallet({ id: wallets[0] ?? "" })],
    ["GetBalance", () => clients.wallets.getBalance({ walletId: wallets[0] ?? "" })],
    ["GetTransaction", () => clients.transactions.getTransaction({ by: { $case: "requestId", value: randomUUID() } })],
    [
      "ListTransactions",
      () =>
        clients.transactions.listTransactions({
          of: { $case: "walletId", value: wallets[0] ?? "" },
          pageSize: 0,
          pageToken: "",
          kinds: [],
          states: [],
          createTimeFrom: undefined,
          createTimeBefore: undefined,
        }),
    ],
    ["ListCurrencies", () => clients.ledger.listCurrencies({ pageSize: 0, pageToken: "" })],
    [
      "ListAccounts",
      () => clients.ledger.listAccounts({ currencyCode: "", systemOnly: false, pageSize: 0, pageToken: "" }),
    ],
    ["GetTrialBalance", () => clients.ledger.getTrialBalance({ currencyCode: "" })],
    ["CheckIntegrity", () => clients.ledger.checkIntegrity({ maxFaults: 0 })],
  ];
  for (const [what, read] of reads) {
    it(`is cut under ${what}: UNAVAILABLE with RetryInfo, and the next one is answered`, async () => {
      const trap = proxy.trap(({ sql }) => !sql.includes("pg_is_in_recovery"), "LOSE_REPLY");
      const error = await refusal(read());
      await trap.sprung;
      expect(error).to.include({ code: "UNAVAILABLE", retryAfterMs: RETRY_AFTER_MS });
      const next = await read().catch((failure: { code: string }) => failure.code);
      expect(next).not.to.be.oneOf(["UNAVAILABLE", "INTERNAL"]);
    });
  }

  it("cuts every connection repeatedly under load: each movement is made once", async () => {
    const setbacks = journal.setbacks.length;
    const movements = planMovements(wallets, 100);
    const load = startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: 10_000 });
    for (const count of [20, 40, 60, 80]) {
      await load.answered(count);
      proxy.resetAll();
    }
    await load.done;
    expect(journal.setbacks.slice(setbacks).filter(({ code }) => code !== "UNAVAILABLE")).to.deep.equal([]);
    await expectWholeBooks(movements);
  });

  it("is slow: a server with default settings answers every call at the first attempt", async () => {
    const patient = await startServer({ DATABASE_URL: proxy.url });
    const callers = connect(patient.address);
    try {
      proxy.setLatencyMs(50);
      const setbacks = journal.setbacks.length;
      const movements = planMovements(wallets, 60);
      await startLoad({ servers: [callers], journal, movements, callers: 30, timeoutMs: 30_000 }).done;
      proxy.setLatencyMs(0);
      expect(journal.setbacks.slice(setbacks)).to.deep.equal([]);
      await expectWholeBooks(movements);
    } finally {
      callers.close();
      await patient.stop();
    }
  });
});
