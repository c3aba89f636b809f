import type { PoolClient } from "pg";
import { expiryRequestId, newId, type Uuid } from "../base/ids.js";
import type { Database } from "../db/database.js";
import { TRANSACTION_KIND } from "../entities/transaction.js";
import type { Engine } from "./engine.js";
import { findDueHolds } from "./find-holds.js";
import type { HoldStepCommand } from "./transaction.js";

/** Ends holds whose time has come. */
export interface Expiry {
  stop(): Promise<void>;
}

/** Who the ledger itself is, as a caller. */
const LEDGER_CALLER: Uuid = "00000000-0000-7000-8000-000000000000";

/** Any number that nothing else locks in this database. */
const LOCK_KEY = 7_236_914_452_001n;

/**
 * Expires holds that are due, in the order of their expiry, from now on. Of several processes one does it at a time; and
 * whoever does, each expiry has one request id, so that it happens once.
 * @param atOnceMax how many holds are expired in one database transaction at the most
 * @param onError told of what keeps it from doing so, once until it succeeds again; it goes on
 */
export function startExpiry(
  database: Database,
  engine: Engine,
  { everyMs, atOnceMax }: { readonly everyMs: number; readonly atOnceMax: number },
  onError: (error: unknown) => void,
): Expiry {
  let isStopped = false;
  let timer: NodeJS.Timeout | undefined;
  let wake: () => void = () => undefined;

  const run = async (): Promise<void> => {
    let isFailing = false;
    let limit = atOnceMax;
    while (!isStopped) {
      let expired = 0;
      try {
        expired = await withLock(database, (client) => expireDue(client, engine, limit));
        isFailing = false;
        limit = atOnceMax;
      } catch (error) {
        if (!isFailing) onError(error);
        isFailing = true;
        // The queue may have no room for so many.
        limit = Math.max(1, Math.floor(limit / 2));
      }
      if (expired === limit || isStopped) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, everyMs);
      });
    }
  };
  const running = run();

  return {
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      wake();
      await running;
    },
  };
}

/** @returns how many were due */
async function expireDue(client: PoolClient, engine: Engine, limit: number): Promise<number> {
  const due = await findDueHolds(client, limit);
  if (due.length > 0) await engine.post({ commands: due.map(expiryOf), mode: "INDEPENDENT" }, PATIENT);
  return due.length;
}

/** The command that ends a hold whose time has come; always the same request. */
export function expiryOf(holdId: Uuid): HoldStepCommand {
  return {
    kind: TRANSACTION_KIND.HOLD_EXPIRY,
    caller: LEDGER_CALLER,
    requestId: expiryRequestId(holdId),
    transactionId: newId(),
    holdId,
    amount: null,
    isFinal: false,
    to: null,
    expiry: null,
    description: "",
    externalReference: "",
    metadata: {},
    terms: {},
    preconditions: [],
  };
}

const PATIENT = { assertWaiting: () => undefined };

/** Does the work under a lock that one process has at a time, and nothing when another one has it. */
async function withLock({ pool }: Database, work: (client: PoolClient) => Promise<number>): Promise<number> {
  const client = await pool.connect();
  let isBroken = true;
  // The statement that meets the broken connection reports it.
  client.on("error", ignore);
  try {
    const { rows } = await client.query<{ mine: boolean }>("SELECT pg_try_advisory_lock($1) AS mine", [LOCK_KEY]);
    if (rows[0]?.mine !== true) {
      isBroken = false;
      return 0;
    }
    const done = await work(client);
    await client.query("SELECT pg_advisory_unlock($1)", [LOCK_KEY]);
    isBroken = false;
    return done;
  } finally {
    client.off("error", ignore);
    // A connection that still has the lock, or is gone, is not used again.
    client.release(isBroken);
  }
}

const ignore = (): void => undefined;
