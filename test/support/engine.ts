import { findDifferences } from "../../src/services/transaction/find-differences.js";
import pg from "pg";
import type { QueryRunner } from "typeorm";
import { newId, type Uuid } from "../../src/base/ids.js";
import type { CallerContext } from "../../src/base/caller-context.js";
import { readConfig } from "../../src/config/config.js";
import { connectDatabase, type Database } from "../../src/db/database.js";
import { ACCOUNT_STATE, type AccountState } from "../../src/base/codes.js";
import { createEngine, type Engine, type OwnEngine } from "../../src/ledger/post/engine.js";
import { checkIntegrity } from "../../src/ledger/check/check.js";
import { startHandover, type Role } from "../../src/ledger/handover/handover.js";
import { createMemory, type Memory } from "../../src/ledger/post/memory.js";
import { createPostingConnection } from "../../src/ledger/post/connection.js";
import type { MovementCommand, UnitOfWork } from "../../src/ledger/command/command.js";
import type { Outcome } from "../../src/ledger/post/outcome.js";
import type { Clients } from "./client.js";
import { findViolations } from "./invariants.js";
import { openTestLedger, PATIENT, type TestLedger } from "./ledger.js";
import { ClientJournal, type Movement } from "./load.js";
import { eventually, freePort } from "./process.js";

// Posting engines as in server processes, several on one database, with gates on their queries.

/** A gate that delays operations, and lets them pass in order. */
export interface Gate {
  /** The number of operations that wait. */
  readonly waiting: number;
  /** The number of operations that have passed and ended. */
  readonly ended: number;
  close(): void;
  /** Lets the first waiting operations pass, and stays closed. */
  let(count: number): void;
  open(): void;
}

/** An engine with its own connections and cache, as in one server process. */
export interface TestEngine {
  readonly engine: OwnEngine;
  readonly database: Database;
  /** What it remembers. */
  readonly memory: Memory;
  /** Its batches for the posting connection. */
  readonly batches: Gate;
  /** Its reads of accounts that are not cached. */
  readonly reads: Gate;
  /** Its database transactions with locked accounts. */
  readonly locked: Gate;
  /** What callers post to: the engine, or what hands over in its place. */
  readonly posting: Engine;
  /** What it has done with postings so far, if its settings have an address for peers. */
  readonly roles: readonly Role[];
  /** Posts a unit of work, or hands it over, and notes the outcomes in the callers' journal. */
  post(commands: readonly MovementCommand[], mode?: UnitOfWork["mode"], caller?: CallerContext): Promise<Outcome[]>;
  /** Posts one command by itself. */
  postOne(command: MovementCommand, caller?: CallerContext): Promise<Outcome>;
  stop(): Promise<void>;
}

/** The state and limits of a new wallet; the defaults are those of CreateWallet. */
export interface WalletLimits {
  readonly currencyCode?: string;
  readonly state?: AccountState;
  readonly minBalance?: bigint | null;
  readonly maxBalance?: bigint | null;
}

/** A ledger that several engines post to, with its callers' journal. */
export interface EngineLedger extends TestLedger {
  readonly callers: ClientJournal;
  /** Opens empty wallets without an owner. */
  openWallets(count: number, limits?: WalletLimits): Promise<Uuid[]>;
  /** @param url the database's URL, for another route to it */
  startEngine(settings?: Readonly<Record<string, string>>, url?: string): Promise<TestEngine>;
  /** Stops all engines. */
  stopEngines(): Promise<void>;
  /** Changes an account, as another process does. */
  changeAccount(id: Uuid, change: Partial<AccountChange>): Promise<void>;
  /** Lists the record ids of each journal batch, in the order of the journal. */
  postedBatches(): Promise<Uuid[][]>;
  /** Lists violations of the laws C, D, U, B, J and of the integrity check. */
  violations(): Promise<string[]>;
}

interface AccountChange {
  readonly state: AccountState;
  readonly max_balance: bigint | null;
  readonly min_balance: bigint | null;
}

export async function openEngineLedger(): Promise<EngineLedger> {
  const ledger = await openTestLedger();
  const { admin } = ledger;
  const callers = new ClientJournal();
  const engines: TestEngine[] = [];
  const stopEngines = async (): Promise<void> => {
    for (const engine of engines.splice(0)) await engine.stop();
  };
  return {
    ...ledger,
    callers,
    openWallets: async (count, { currencyCode = "USD", state = ACCOUNT_STATE.OPEN, ...limits } = {}) => {
      const ids = Array.from({ length: count }, newId);
      await admin.query(
        `INSERT INTO accounts (id, currency_code, normal_side, state, min_balance, max_balance)
         SELECT id, $2, 2, $3, $4, $5 FROM unnest($1::uuid[]) AS wallet (id)`,
        [ids, currencyCode, state, limits.minBalance === undefined ? 0n : limits.minBalance, limits.maxBalance ?? null],
      );
      for (const id of ids) callers.openings.set(id, 0n);
      return ids;
    },
    startEngine: async (settings = {}, url = ledger.url) => {
      const engine = await startEngine(url, settings, callers);
      engines.push(engine);
      return engine;
    },
    stopEngines,
    changeAccount: async (id, change) => {
      for (const [column, value] of Object.entries(change)) {
        const sql = `UPDATE accounts SET ${pg.escapeIdentifier(column)} = $2 WHERE id = $1`;
        await admin.query(sql, [id, value]);
      }
    },
    postedBatches: async () => {
      const { rows } = await admin.query<{ record_ids: Uuid[] }>(
        "SELECT record_ids::text[] FROM journal_batches ORDER BY first_index",
      );
      return rows.map((row) => row.record_ids);
    },
    violations: () => findViolations(ledger.url, callers, ledgerOf(ledger.database)),
    close: async () => {
      await stopEngines();
      await ledger.close();
    },
  };
}

async function startEngine(
  url: string,
  settings: Readonly<Record<string, string>>,
  callers: ClientJournal,
): Promise<TestEngine> {
  const config = readConfig({ DATABASE_URL: url, ...settings });
  const database = await connectDatabase(url, config);
  const connection = createPostingConnection(url, config);
  const memory = createMemory(config);
  const batches = createGate();
  const reads = createGate();
  const locked = createGate();
  const { pool } = database;
  const gatedPool = new Proxy(pool, {
    get: (target, name) =>
      name === "query" ? (query: pg.QueryConfig) => reads.pass(() => pool.query(query)) : Reflect.get(target, name),
  });
  const gatedSource = new Proxy(database.dataSource, {
    get: (target, name) =>
      name === "createQueryRunner" ? () => gatedRunner(database, locked) : Reflect.get(target, name),
  });
  const engine = createEngine(
    { ...database, dataSource: gatedSource, pool: gatedPool },
    { ...connection, query: (query) => batches.pass(() => connection.query(query)) },
    config,
    findDifferences,
    memory,
  );
  const roles: Role[] = [];
  const { GREY_PEER_ADDRESS: peer } = config;
  const handover =
    peer === undefined
      ? undefined
      : await startHandover(
          engine,
          database,
          { ...config, GREY_PEER_ADDRESS: peer },
          {
            onRole: (role) => roles.push(role),
            onFault: (error) => {
              throw error;
            },
          },
        );
  const posting = handover?.engine ?? engine;
  const post = async (
    commands: readonly MovementCommand[],
    mode: UnitOfWork["mode"] = "INDEPENDENT",
    caller = PATIENT,
  ) => {
    const outcomes = await posting.post({ commands, mode }, caller);
    commands.forEach((command, index) => note(callers, command, outcomes[index]!));
    return outcomes;
  };
  return {
    engine,
    database,
    memory,
    batches,
    reads,
    locked,
    post,
    postOne: async (command, caller) => (await post([command], "INDEPENDENT", caller))[0]!,
    posting,
    roles,
    stop: async () => {
      await handover?.stop();
      await connection.stop();
      await database.dataSource.destroy();
    },
  };
}

/** Creates a query runner whose connection passes the gate. */
function gatedRunner({ dataSource }: Database, gate: PassingGate): QueryRunner {
  const runner = dataSource.createQueryRunner();
  const connect = () => runner.connect();
  return new Proxy(runner, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (name === "connect") return () => gate.pass(connect);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

interface PassingGate extends Gate {
  pass<T>(run: () => Promise<T>): Promise<T>;
}

function createGate(): PassingGate {
  const waiting: (() => void)[] = [];
  let isClosed = false;
  let ended = 0;
  const letPass = (count: number): void => {
    for (const run of waiting.splice(0, count)) run();
  };
  return {
    get waiting() {
      return waiting.length;
    },
    get ended() {
      return ended;
    },
    close: () => {
      isClosed = true;
    },
    let: letPass,
    open: () => {
      isClosed = false;
      letPass(waiting.length);
    },
    pass: async (run) => {
      if (isClosed) await new Promise<void>((resolve) => waiting.push(resolve));
      return run().finally(() => {
        ended += 1;
      });
    },
  };
}

/** Notes an outcome that a caller received; throws when it differs from an earlier one of the same request. */
function note({ asked, answers }: ClientJournal, command: MovementCommand, outcome: Outcome): void {
  // A request id that another request used is no outcome of this one.
  if ("failure" in outcome) return;
  const { transaction, replayed } = outcome;
  const answer = { transactionId: transaction.id, refusal: transaction.failure?.reason, replayed };
  const before = answers.get(command.requestId);
  if (before !== undefined && (before.transactionId !== answer.transactionId || before.refusal !== answer.refusal)) {
    throw new Error(`${command.requestId} was answered ${JSON.stringify(before)}, and ${JSON.stringify(answer)}`);
  }
  asked.set(command.requestId, movementOf(command));
  answers.set(command.requestId, answer);
}

function movementOf({ kind, requestId, debitAccountId, creditAccountId, amountMinor }: MovementCommand): Movement {
  const common = { requestId, amountMinor };
  switch (kind) {
    case "WITHDRAWAL":
      return { ...common, kind: "WITHDRAWAL", fromWalletId: debitAccountId, toWalletId: undefined };
    case "TRANSFER":
      return { ...common, kind: "TRANSFER", fromWalletId: debitAccountId, toWalletId: creditAccountId };
    default:
      return { ...common, kind: "DEPOSIT", fromWalletId: undefined, toWalletId: creditAccountId };
  }
}

/** Returns the integrity check as findViolations() calls it, without a server. */
function ledgerOf(database: Database): Clients["ledger"] {
  return { checkIntegrity: () => checkIntegrity(database, 100) } as unknown as Clients["ledger"];
}

/** Starts an engine that posts for all, and one that hands over to it. */
export async function startSharingEngines(
  ledger: EngineLedger,
  settings: Readonly<Record<string, string>>,
): Promise<readonly TestEngine[]> {
  const engines: TestEngine[] = [];
  for (const role of ["POSTER", "FRONT"] as const) {
    const peer = `127.0.0.1:${await freePort()}`;
    const engine = await ledger.startEngine({ GREY_PEER_ADDRESS: peer, ...settings });
    await eventually(`a server that is ${role}`, () => engine.roles.at(-1)?.name === role);
    engines.push(engine);
  }
  return engines;
}

/** A lock that a separate session holds. */
export interface RowLock {
  release(): Promise<void>;
}

/** Locks the journal's head, so that postings wait. */
export async function lockLedger(url: string): Promise<RowLock> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("BEGIN");
  await client.query("SELECT FROM journal_head FOR UPDATE");
  return {
    release: async () => {
      await client.query("ROLLBACK");
      await client.end();
    },
  };
}

/** Waits until a session of this application waits for a lock in the database. */
export function waitsForLock(admin: pg.Client, application: string): Promise<void> {
  return eventually(
    `a session of ${application} that waits for a lock`,
    async () => {
      const { rows } = await admin.query(
        `SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock'`,
        [application],
      );
      return rows.length > 0;
    },
    WAIT_MS_MAX,
  );
}

/** The timeout of waits; long, for a busy machine. */
export const WAIT_MS_MAX = 30_000;
