import { NO_CALLER } from "../../base/caller-context.js";
import type { PoolClient } from "pg";
import { expiryRequestId, LEDGER_CALLER, newId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { startSweep, withAdvisoryLock, type Sweep, type SweepOptions } from "../../db/sweep.js";
import type { Engine } from "../post/engine.js";
import { findDueHolds } from "./store.js";
import { NO_CALLER_DATA, type ExpireHoldCommand } from "../command/command.js";

/** An advisory lock that nothing else in this database takes. */
const LOCK_KEY = 7_236_914_452_001n;

/**
 * Starts the expiry of due holds, in the order of their times. One process at a time does this, and each expiry has one request id, so that
 * it is posted once.
 */
export function startExpiry(
  database: Database,
  engine: Engine,
  options: SweepOptions,
  onError: (error: unknown) => void,
): Sweep {
  return startSweep(
    options,
    (limit) => withAdvisoryLock(database, LOCK_KEY, (client) => expireDue(client, engine, limit)),
    onError,
  );
}

/** Expires due holds, up to a limit. @returns whether more may be due */
async function expireDue(client: PoolClient, engine: Engine, limit: number): Promise<boolean> {
  const due = await findDueHolds(client, limit);
  if (due.length > 0) await engine.post({ commands: due.map(toExpiryCommand), mode: "INDEPENDENT" }, NO_CALLER);
  return due.length >= limit;
}

/** Returns the command that expires a hold; always the same request. */
export function toExpiryCommand(holdId: Uuid): ExpireHoldCommand {
  return {
    kind: "HOLD_EXPIRY",
    caller: LEDGER_CALLER,
    requestId: expiryRequestId(holdId),
    transactionId: newId(),
    holdId,
    data: NO_CALLER_DATA,
    preconditions: [],
    requestTerms: null,
  };
}
