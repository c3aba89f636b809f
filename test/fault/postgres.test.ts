import { Client, credentials, type MethodDefinition } from "@grpc/grpc-js";
import { expect } from "chai";
import { service as healthService, type ServingStatus } from "grpc-health-check";
import pg from "pg";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "../../src/db/embedded-postgres.js";
import { connect, refusal, type Clients } from "../support/client.js";
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
} from "../support/load.js";
import { endAllGrey, eventually, makeFolder, startGreyProcess, type GreyProcess } from "../support/process.js";
import { startServer } from "../support/server.js";

const RECOVERY_MS_MAX = 5_000;
const RETRY_AFTER_MS = 20;
/** Longer than the server takes to report a change. */
const ATTEMPT_MS = 10_000;
/** PostgreSQL recovers from a crash before it accepts connections. */
const RETURN_MS_MAX = 15_000;

describe("a PostgreSQL that fails under a server in another process", () => {
  let folder: Awaited<ReturnType<typeof makeFolder>>;
  let postgres: EmbeddedPostgres;
  let server: GreyProcess & { readonly address: string };
  let clients: Clients;
  let health: HealthWatch;
  let journal: ClientJournal;
  let wallets: string[];

  before(async () => {
    folder = await makeFolder();
    postgres = await startEmbeddedPostgres({ dataDir: folder.path, port: 0 });
    server = await startGreyProcess({ DATABASE_URL: postgres.ownerUrl, GREY_RETRY_AFTER_MS: `${RETRY_AFTER_MS}` });
    clients = connect(server.address);
    health = watchHealth(server.address);
    journal = new ClientJournal();
    wallets = await openWallets(clients, journal, 3, 100_000n);
    await health.becomes("SERVING");
  });
  afterEach("no error that Grey does not know", () => {
    expect(server.logs.filter(({ message }) => message === "fault")).to.deep.equal([]);
  });
  after(async () => {
    health.stop();
    clients.close();
    await endAllGrey();
    await postgres.stop({ immediate: true });
    await folder.remove();
  });

  async function query<T extends object>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: postgres.ownerUrl, connectionTimeoutMillis: 1_000 });
    client.on("error", () => undefined);
    await client.connect();
    try {
      return (await client.query<T>(sql, [...values])).rows;
    } finally {
      await client.end();
    }
  }

  /** Resolves once PostgreSQL is back. */
  function postgresReturns(): Promise<void> {
    const answers = async (): Promise<boolean> => {
      try {
        await query("SELECT 1");
        return true;
      } catch {
        return false;
      }
    };
    return eventually("PostgreSQL's return", answers, RETURN_MS_MAX);
  }

  /** Returns the callers' setbacks since then, each of which must have a retry delay. */
  function expectSetbacksSince(count: number): void {
    const setbacks = journal.setbacks.slice(count);
    expect(setbacks).not.to.deep.equal([]);
    for (const setback of setbacks) {
      expect(setback).to.include({ code: "UNAVAILABLE", retryAfterMs: RETRY_AFTER_MS });
    }
  }

  it("killed with -9: UNAVAILABLE with RetryInfo, NOT_SERVING, and serving within 5 s of its return", async () => {
    const setbacks = journal.setbacks.length;
    const movements = planMovements(wallets, 100);
    const load = startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: ATTEMPT_MS });
    await load.answered(30);
    process.kill(postgres.pid, "SIGKILL");
    await health.becomes("NOT_SERVING");
    await postgresReturns();
    const returned = performance.now();
    await retryUntilAnswered([clients], journal, makeDeposit(wallets[0] ?? "", 1n));
    await health.becomes("SERVING");
    expect(performance.now() - returned).to.be.lessThan(RECOVERY_MS_MAX);
    await load.done;
    expectSetbacksSince(setbacks);

    await repeatAll(clients, journal, movements);
    expect(await findViolations(postgres.ownerUrl, journal, clients.ledger)).to.deep.equal([]);
  });

  it("sessions killed with -9 one by one under load: each movement is made once", async () => {
    const setbacks = journal.setbacks.length;
    const movements = planMovements(wallets, 100);
    const load = startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: ATTEMPT_MS });
    for (const count of [30, 60]) {
      await load.answered(count);
      const sessions = await query<{ pid: number }>(
        "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'grey%' AND application_name <> 'grey-watch' AND backend_type = 'client backend' AND datname = current_database() ORDER BY state_change DESC LIMIT 1",
      );
      const [session] = sessions;
      if (session !== undefined) process.kill(session.pid, "SIGKILL");
      await postgresReturns();
    }
    await load.done;
    expectSetbacksSince(setbacks);

    await repeatAll(clients, journal, movements);
    expect(await findViolations(postgres.ownerUrl, journal, clients.ledger)).to.deep.equal([]);
  });

  it("sessions ended by an administrator under load: each movement is made once", async () => {
    const movements = planMovements(wallets, 100);
    const load = startLoad({ servers: [clients], journal, movements, callers: 12, timeoutMs: ATTEMPT_MS });
    for (const count of [20, 40, 60, 80]) {
      await load.answered(count);
      await query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'grey%' AND pid <> pg_backend_pid()",
      );
    }
    await load.done;
    await repeatAll(clients, journal, movements);
    expect(await findViolations(postgres.ownerUrl, journal, clients.ledger)).to.deep.equal([]);
  });

  it("a commit whose wait for the replica is cancelled is not reported as posted until the replica is back", async () => {
    const [from = "", to = ""] = wallets;
    const movement = makeTransfer(from, to, 9n);
    await query("ALTER SYSTEM SET synchronous_standby_names = 'missing'");
    await query("SELECT pg_reload_conf()");
    try {
      await eventually("the new setting", async () => {
        const [row] = await query<{ names: string }>("SELECT current_setting('synchronous_standby_names') AS names");
        return row?.names === "missing";
      });
      let hasEnded = false;
      const first = sendOnce(clients, journal, movement, ATTEMPT_MS).finally(() => (hasEnded = true));
      let cancelled = 0;
      await eventually("the end of the call", async () => {
        const waits = await query<{ done: boolean }>(
          "SELECT pg_cancel_backend(pid) AS done FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        );
        cancelled += waits.length;
        return hasEnded;
      });
      expect(cancelled).to.be.greaterThan(0);
      expect(await first).to.equal(undefined);
      expect(journal.setbacks.at(-1)).to.deep.equal({
        requestId: movement.requestId,
        code: "UNAVAILABLE",
        reason: "OUTCOME_UNKNOWN",
        retryAfterMs: RETRY_AFTER_MS,
      });

      // A retry waits for the replica too: it must not report what a failover could still undo.
      let isTold = false;
      const second = retryUntilAnswered([clients], journal, movement, ATTEMPT_MS).finally(() => (isTold = true));
      await eventually("a repetition that waits for the replica", async () => {
        const waits = await query("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        return waits.length > 0 || isTold;
      });
      expect(isTold, "told while the replica is missing").to.equal(false);
      await query("ALTER SYSTEM RESET synchronous_standby_names");
      await query("SELECT pg_reload_conf()");
      expect(await second).to.include({ refusal: undefined, replayed: true });
    } finally {
      await query("ALTER SYSTEM RESET synchronous_standby_names");
      await query("SELECT pg_reload_conf()");
    }
    expect(await findViolations(postgres.ownerUrl, journal, clients.ledger)).to.deep.equal([]);
  });

  it("too many connections: UNAVAILABLE with RetryInfo without any, and service with a few", async () => {
    // PostgreSQL refuses connections over a role's limit like those over its own: too_many_connections.
    await query("CREATE ROLE teller LOGIN PASSWORD 'teller' CONNECTION LIMIT 4 IN ROLE grey_service");
    const url = new URL(postgres.ownerUrl);
    [url.username, url.password] = ["teller", "teller"];
    const crowded = await startServer({
      DATABASE_URL: url.href,
      GREY_DATABASE_OWNER_URL: postgres.ownerUrl,
      GREY_RETRY_AFTER_MS: `${RETRY_AFTER_MS}`,
    });
    const tellers = connect(crowded.address);
    try {
      const movements = planMovements(wallets, 60);
      await startLoad({ servers: [tellers], journal, movements, callers: 20, timeoutMs: ATTEMPT_MS }).done;

      await query("ALTER ROLE teller CONNECTION LIMIT 0");
      await query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'teller'");
      const setbacks = journal.setbacks.length;
      const movement = makeDeposit(wallets[0] ?? "", 1n);
      expect(await sendOnce(tellers, journal, movement, ATTEMPT_MS)).to.equal(undefined);
      expectSetbacksSince(setbacks);
      const read = await refusal(tellers.wallets.getWallet({ id: wallets[0] ?? "" }));
      expect(read).to.include({ code: "UNAVAILABLE", retryAfterMs: RETRY_AFTER_MS });

      await query("ALTER ROLE teller CONNECTION LIMIT -1");
      const freed = performance.now();
      await retryUntilAnswered([tellers], journal, movement);
      expect(performance.now() - freed).to.be.lessThan(RECOVERY_MS_MAX);
      expect(crowded.logs.filter(({ message }) => message === "fault")).to.deep.equal([]);
    } finally {
      tellers.close();
      await crowded.stop();
    }
    expect(await findViolations(postgres.ownerUrl, journal, clients.ledger)).to.deep.equal([]);
  });
});

/** The changes of a server's health. */
export interface HealthWatch {
  readonly seen: readonly ServingStatus[];
  /** Resolves when health reports this status, after all those awaited before. */
  becomes(wanted: ServingStatus): Promise<void>;
  stop(): void;
}

const HEALTH_MS_MAX = 15_000;

/** Watches the health of a server like a load balancer. */
export function watchHealth(address: string): HealthWatch {
  const client = new Client(address, credentials.createInsecure());
  const watch = healthService.Watch as MethodDefinition<{ service: string }, { status: ServingStatus }>;
  const stream = client.makeServerStreamRequest(watch.path, watch.requestSerialize, watch.responseDeserialize, {
    service: "",
  });
  const seen: ServingStatus[] = [];
  let waitedFor = 0;
  let onSeen: () => void = () => undefined;
  stream.on("data", ({ status }: { status: ServingStatus }) => {
    seen.push(status);
    onSeen();
  });
  // It ends with the server or with stop().
  stream.on("error", () => undefined);
  return {
    seen,
    becomes: (wanted) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`health did not become ${wanted} in ${HEALTH_MS_MAX} ms: ${seen.join(", ")}`));
        }, HEALTH_MS_MAX);
        onSeen = () => {
          const at = seen.indexOf(wanted, waitedFor);
          if (at < 0) return;
          waitedFor = at + 1;
          clearTimeout(timer);
          resolve();
        };
        onSeen();
      }),
    stop: () => {
      stream.cancel();
      client.close();
    },
  };
}
