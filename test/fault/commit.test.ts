import { expect } from "chai";
import { randomUUID } from "node:crypto";
import pg from "pg";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { CallError, connect, type Clients } from "../support/client.js";
import { everyNth, makesWriteLast, startFaultProxy, type Effect, type FaultProxy } from "../support/fault-proxy.js";
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
  makeWithdrawal,
  type Movement,
} from "../support/load.js";
import { eventually } from "../support/process.js";
import { startServer, type TestServer } from "../support/server.js";

const ATTEMPT_MS = 5_000;

describe("a commit with an unknown outcome", () => {
  let database: TestDatabase;
  let proxy: FaultProxy;
  let server: TestServer;
  let clients: Clients;
  let journal: ClientJournal;
  let walletA: string;
  let walletB: string;

  before(async () => {
    database = await createTestDatabase();
    proxy = await startFaultProxy(database.url);
    server = await startServer({ DATABASE_URL: proxy.url, GREY_RETRY_AFTER_MS: "20" });
    clients = connect(server.address);
    journal = new ClientJournal();
    [walletA = "", walletB = ""] = await openWallets(clients, journal, 2, 1_000n);
  });
  after(async () => {
    clients.close();
    await server.stop();
    await proxy.stop();
    await database.drop();
  });

  async function query<T extends object>(sql: string, values: readonly string[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      return (await client.query<T>(sql, [...values])).rows;
    } finally {
      await client.end();
    }
  }

  /** Resolves once an attempt waits for the zombie's locks, or has ended if the zombie holds none. */
  async function attemptWaits(attempt: Promise<unknown>): Promise<void> {
    let hasEnded = false;
    void attempt.finally(() => (hasEnded = true)).catch(() => undefined);
    await eventually("an attempt that waits or has ended", async () => {
      const waiting = await query(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
      );
      return waiting.length > 0 || hasEnded;
    });
  }

  async function listTransactionIds(requestId: string): Promise<string[]> {
    const rows = await query<{ id: string }>("SELECT id FROM transactions WHERE request_id = $1", [requestId]);
    return rows.map(({ id }) => id);
  }

  const movements: readonly (readonly [what: string, make: () => Movement])[] = [
    ["a deposit", () => makeDeposit(walletA, 5n)],
    ["a withdrawal", () => makeWithdrawal(walletA, 5n)],
    ["a transfer", () => makeTransfer(walletA, walletB, 5n)],
    ["a transfer that is refused", () => makeTransfer(walletA, walletB, 5_000n)],
  ];

  for (const [what, make] of movements) {
    it(`returns the one outcome of ${what} whose commit's reply was lost, at once or on retry`, async () => {
      const movement = make();
      const trap = proxy.trap(makesWriteLast, "LOSE_REPLY");
      const first = await sendOnce(clients, journal, movement, ATTEMPT_MS);
      await trap.sprung;
      const stored = await listTransactionIds(movement.requestId);
      expect(stored).to.have.length(1);
      if (first === undefined) expect(journal.setbacks).to.deep.include({ ...UNKNOWN, requestId: movement.requestId });
      else expect([first.transactionId]).to.deep.equal(stored);

      const again = await retryUntilAnswered([clients], journal, movement);
      expect(again).to.include({ transactionId: stored[0], replayed: true });
      expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
    });

    it(`posts ${what} whose commit never reached PostgreSQL once, at once or on retry`, async () => {
      const movement = make();
      const trap = proxy.trap(makesWriteLast, "RESET_BEFORE");
      const first = await sendOnce(clients, journal, movement, ATTEMPT_MS);
      await trap.sprung;
      expect(await listTransactionIds(movement.requestId)).to.have.length(first === undefined ? 0 : 1);

      await retryUntilAnswered([clients], journal, movement);
      expect(await listTransactionIds(movement.requestId)).to.have.length(1);
      expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
    });

    it(`posts ${what} once if its commit arrives late, during the caller's retry`, async () => {
      const movement = make();
      const trap = proxy.trap(makesWriteLast, "ZOMBIE");
      const answer = retryUntilAnswered([clients], journal, movement);
      await trap.sprung;
      await attemptWaits(answer);
      await trap.release();
      const { transactionId } = await answer;
      expect(await listTransactionIds(movement.requestId)).to.deep.equal([transactionId]);
      await repeatAll(clients, journal, [movement]);
      expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
    });
  }

  const UNKNOWN = { code: "UNAVAILABLE", reason: "OUTCOME_UNKNOWN", retryAfterMs: 20 };
  const NOTHING_WRITTEN = { code: "UNAVAILABLE", reason: "DATABASE_UNAVAILABLE", retryAfterMs: 20 };

  it("is never reported as success or refusal while all replies are lost", async () => {
    const movement = makeTransfer(walletA, walletB, 5n);
    const trap = proxy.trap(makesWriteLast, "LOSE_REPLY", { times: Infinity });
    const first = await sendOnce(clients, journal, movement, ATTEMPT_MS);
    trap.disarm();
    expect(trap.count).to.be.greaterThan(0);
    const stored = await listTransactionIds(movement.requestId);
    expect(stored).to.have.length(1);
    if (first === undefined) expect(journal.setbacks).to.deep.include({ ...UNKNOWN, requestId: movement.requestId });
    else expect([first.transactionId]).to.deep.equal(stored);

    const again = await retryUntilAnswered([clients], journal, movement);
    expect(again).to.include({ transactionId: stored[0], replayed: true });
    expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
  });

  it("leaves no trace and an unused request_id while all commits are lost", async () => {
    const movement = makeTransfer(walletA, walletB, 5n);
    const trap = proxy.trap(makesWriteLast, "RESET_BEFORE", { times: Infinity });
    expect(await sendOnce(clients, journal, movement, ATTEMPT_MS)).to.equal(undefined);
    trap.disarm();
    const { requestId } = movement;
    expect([
      { ...UNKNOWN, requestId },
      { ...NOTHING_WRITTEN, requestId },
    ]).to.deep.include(journal.setbacks.at(-1));
    expect(await listTransactionIds(movement.requestId)).to.deep.equal([]);

    const again = await retryUntilAnswered([clients], journal, movement);
    expect(again).to.include({ replayed: false, refusal: undefined });
    expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
  });

  for (const effect of ["LOSE_REPLY", "RESET_BEFORE", "ZOMBIE"] as const) {
    it(`creates one user and one wallet per request, with its initial balance once (${effect})`, async () => {
      const userRequest = { requestId: randomUUID(), name: "Ada", email: `${randomUUID()}@example.com`, metadata: {} };
      const user = await oneAnswer(effect, async () => (await clients.users.createUser(userRequest)).user?.id);
      const walletRequest = {
        requestId: randomUUID(),
        userId: user,
        currencyCode: "USD",
        label: "",
        initialBalance: { currencyCode: "USD", minorUnits: 70n },
        metadata: {},
      };
      const opened = await oneAnswer(
        effect,
        async () => (await clients.wallets.createWallet(walletRequest)).wallet?.id,
      );
      journal.openings.set(opened, 70n);

      const { wallets } = await clients.wallets.listWallets({ userId: user, pageSize: 0, pageToken: "" });
      expect(wallets.map(({ wallet }) => wallet?.id)).to.deep.equal([opened]);
      const users = await query("SELECT FROM users WHERE email = $1", [userRequest.email]);
      expect(users).to.have.length(1);
      expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
    });
  }

  /** Returns the outcome of a call whose commit meets the fault, and that of its retry. */
  async function oneAnswer(effect: Effect, call: () => Promise<string | undefined>): Promise<string> {
    const trap = proxy.trap(makesWriteLast, effect);
    const attempt = async (): Promise<string | undefined> => {
      try {
        return await call();
      } catch (error) {
        if (error instanceof CallError && error.code === "UNAVAILABLE") return undefined;
        throw error;
      }
    };
    const under = attempt();
    await trap.sprung;
    if (effect === "ZOMBIE") {
      await attemptWaits(under);
      await trap.release();
    }
    const first = await under;
    let answer: string | undefined;
    await eventually("an answer", async () => (answer = await attempt()) !== undefined);
    if (first !== undefined) expect(answer).to.equal(first);
    expect(await call()).to.equal(answer);
    return answer ?? "";
  }

  it("keeps the ledger consistent when every fourth commit loses its reply and every fifth is cut off, under load", async () => {
    const lost = proxy.trap(everyNth(4, makesWriteLast), "LOSE_REPLY", { times: Infinity });
    const cut = proxy.trap(everyNth(5, makesWriteLast), "RESET_BEFORE", { times: Infinity });
    const movements = planMovements([walletA, walletB], 120);
    await startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: ATTEMPT_MS }).done;
    lost.disarm();
    cut.disarm();
    expect(lost.count).to.be.greaterThan(3);
    expect(cut.count).to.be.greaterThan(3);
    expect(journal.setbacks.filter(({ code }) => code !== "UNAVAILABLE")).to.deep.equal([]);

    await repeatAll(clients, journal, movements);
    expect(await findViolations(database.url, journal, clients.ledger)).to.deep.equal([]);
    const faults = server.logs.filter(({ message }) => message === "fault");
    expect(faults, "errors that Grey does not know").to.deep.equal([]);
  });
});
