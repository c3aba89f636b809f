import { expect } from "chai";
import { randomUUID } from "node:crypto";
import pg from "pg";
import { createTestDatabase, type TestDatabase } from "../support/cluster.js";
import { connect, type Clients } from "../support/client.js";
import { findViolations } from "../support/invariants.js";
import { repeatAll, ClientJournal, openWallets, planMovements, startLoad, makeTransfer } from "../support/load.js";
import { endAllGrey, startGreyProcess } from "../support/process.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

describe("server processes on one database", () => {
  type Server = Awaited<ReturnType<typeof startGreyProcess>>;
  let database: TestDatabase;
  let clock: pg.Client;
  let fast: Server;
  let slow: Server;
  let clientsOfFast: Clients;
  let clientsOfSlow: Clients;
  let journal: ClientJournal;

  before(async () => {
    database = await createTestDatabase();
    clock = new pg.Client({ connectionString: database.url });
    await clock.connect();
    [fast, slow] = await Promise.all([
      start({ NODE_OPTIONS: shiftedClock(HOUR_MS) }),
      start({ NODE_OPTIONS: shiftedClock(-HOUR_MS) }),
    ]);
    clientsOfFast = connect(fast.address);
    clientsOfSlow = connect(slow.address);
    journal = new ClientJournal();
  });
  afterEach("no error that Grey does not know", () => {
    expect([...fast.logs, ...slow.logs].filter(({ message }) => message === "fault")).to.deep.equal([]);
  });
  after(async () => {
    clientsOfFast.close();
    clientsOfSlow.close();
    await endAllGrey();
    await clock.end();
    await database.drop();
  });

  function start(settings: Readonly<Record<string, string>>): Promise<Server> {
    return startGreyProcess({ DATABASE_URL: database.url, GREY_RETRY_AFTER_MS: "20", ...settings });
  }

  /** The database's clock, in ms since 1970. */
  async function now(): Promise<number> {
    const { rows } = await clock.query<{ ms: string }>("SELECT extract(epoch FROM clock_timestamp()) * 1000 AS ms");
    return Number(rows[0]?.ms);
  }

  it("with clocks an hour fast and an hour slow: all times and the order are the database's", async () => {
    const began = await now();
    for (const [server, offMs] of [
      [fast, HOUR_MS],
      [slow, -HOUR_MS],
    ] as const) {
      // The log shows the server's own time.
      const { timestamp } = await server.line("serving");
      expect(Date.parse(String(timestamp)) - began).to.be.within(offMs - MINUTE_MS, offMs + MINUTE_MS);
    }
    const [a = "", b = ""] = await openWallets(clientsOfFast, journal, 2, 10_000n);
    const { user } = await clientsOfSlow.users.createUser({
      requestId: randomUUID(),
      name: "Ada",
      email: "ada@example.com",
      metadata: {},
    });
    const movements = Array.from({ length: 40 }, (_, n) =>
      n % 2 === 0 ? makeTransfer(a, b, 1n) : makeTransfer(b, a, 1n),
    );
    await startLoad({ servers: [clientsOfFast, clientsOfSlow], journal, movements, callers: 4 }).done;
    const ended = await now();

    const { wallet } = await clientsOfSlow.wallets.getWallet({ id: a });
    const { transactions } = await clientsOfFast.transactions.listTransactions({
      of: { $case: "walletId", value: a },
      pageSize: 100,
      pageToken: "",
      kinds: [],
      states: [],
      createTimeFrom: undefined,
      createTimeBefore: undefined,
    });
    expect(transactions).to.have.length(movements.length + 1);
    const inOrder = [...transactions].sort((one, other) => Number(one.journalIndex - other.journalIndex));
    const recorded = inOrder.map(({ createTime }) => toMillis(createTime));
    const kept = [user?.createTime, user?.updateTime, wallet?.createTime, wallet?.updateTime].map(toMillis);
    for (const time of [...kept, ...recorded]) expect(time).to.be.within(began - 1, ended + 1);
    expect(recorded).to.deep.equal([...recorded].sort((one, other) => one - other));
    expect(await findViolations(database.url, journal, clientsOfFast.ledger)).to.deep.equal([]);
  });

  it("under opposing transfers: no caller gets a deadlock, and transfers there and back cancel out", async () => {
    const [a = "", b = ""] = await openWallets(clientsOfFast, journal, 2, 100_000n);
    const setbacks = journal.setbacks.length;
    const movements = Array.from({ length: 120 }, (_, n) =>
      // Two concurrent callers per server and direction.
      n % 4 < 2 ? makeTransfer(a, b, 7n) : makeTransfer(b, a, 7n),
    );
    await startLoad({ servers: [clientsOfFast, clientsOfSlow], journal, movements, callers: 16, timeoutMs: 10_000 })
      .done;
    expect(journal.setbacks.slice(setbacks)).to.deep.equal([]);

    for (const walletId of [a, b]) {
      const { balance } = await clientsOfSlow.wallets.getBalance({ walletId });
      expect(balance?.posted?.minorUnits).to.equal(100_000n);
    }
    expect(await findViolations(database.url, journal, clientsOfSlow.ledger)).to.deep.equal([]);
  });

  it("one paused under load and woken after the other went on: nothing that it decided before counts", async () => {
    const wallets = await openWallets(clientsOfSlow, journal, 3, 10_000n);
    const movements = planMovements(wallets, 100);
    const load = startLoad({ servers: [clientsOfFast, clientsOfSlow], journal, movements, callers: 16 });
    await load.answered(40);
    fast.signal("SIGSTOP");
    const others = planMovements(wallets, 40);
    try {
      // PostgreSQL ends a transaction that it may have begun.
      await startLoad({ servers: [clientsOfSlow], journal, movements: others, callers: 8 }).done;
    } finally {
      fast.signal("SIGCONT");
    }
    await load.done;

    await repeatAll(clientsOfSlow, journal, [...movements, ...others]);
    expect(await findViolations(database.url, journal, clientsOfSlow.ledger)).to.deep.equal([]);
  });

  it("one killed with -9 under load: its callers get their outcomes from the other", async () => {
    const wallets = await openWallets(clientsOfSlow, journal, 3, 10_000n);
    const setbacks = journal.setbacks.length;
    const movements = planMovements(wallets, 100);
    const load = startLoad({ servers: [clientsOfFast, clientsOfSlow], journal, movements, callers: 16 });
    await load.answered(40);
    fast.signal("SIGKILL");
    expect(await fast.ended).to.include({ signal: "SIGKILL" });
    await load.done;
    expect(journal.setbacks.slice(setbacks).map(({ code }) => code)).to.include("UNAVAILABLE");

    await repeatAll(clientsOfSlow, journal, movements);
    expect(await findViolations(database.url, journal, clientsOfSlow.ledger)).to.deep.equal([]);
  });

  it("the only one killed with -9 under load and restarted: every call gets its one outcome", async () => {
    const wallets = await openWallets(clientsOfSlow, journal, 3, 10_000n);
    const setbacks = journal.setbacks.length;
    const movements = planMovements(wallets, 100);
    const servers = [clientsOfSlow];
    const load = startLoad({ servers, journal, movements, callers: 16 });
    await load.answered(40);
    slow.signal("SIGKILL");
    expect(await slow.ended).to.include({ signal: "SIGKILL" });
    slow = await start({});
    const clients = connect(slow.address);
    servers[0] = clients;
    await load.done;
    clientsOfSlow.close();
    clientsOfSlow = clients;
    expect(journal.setbacks.slice(setbacks).map(({ code }) => code)).to.include("UNAVAILABLE");

    await repeatAll(clientsOfSlow, journal, movements);
    expect(await findViolations(database.url, journal, clientsOfSlow.ledger)).to.deep.equal([]);
  });
});

/** Returns Node options that shift Date but not monotonic clocks and timers. */
function shiftedClock(ms: number): string {
  const module = `
    const RealDate = Date;
    globalThis.Date = class Date extends RealDate {
      constructor(...parts) {
        if (parts.length === 0) super(RealDate.now() + ${ms});
        else super(...parts);
      }
      static now() { return RealDate.now() + ${ms}; }
    };`;
  return `--import=data:text/javascript,${encodeURIComponent(module)}`;
}

function toMillis(time: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  return time === undefined ? Number.NaN : Number(time.seconds) * 1_000 + time.nanos / 1_000_000;
}
