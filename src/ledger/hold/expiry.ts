import type { PoolClient } from "pg";
import { expiryRequestId, LEDGER_CALLER, newId, type Uuid } from "../../base/ids.js";
import type { Database } from "../../db/database.js";
import { startSweep, withAdvisoryLock, type Sweep, type SweepOptions } from "../../db/sweep.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import type { Engine } from "../post/engine.js";
import { findDueHolds } from "./rows.js";
import type { HoldStepCommand } from "../transaction/transaction.js";

/** Any number that nothing else locks in this database. */
const LOCK_KEY = 7_236_914_452_001n;

/**
 * Expires holds that are due, in the order of their expiry, from now on. Of several processes one does it at a time; and
 * whoever does, each expiry has one request id, so that it happens once.
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

/** @returns whether more may be due */
async function expireDue(client: PoolClient, engine: Engine, limit: number): Promise<boolean> {
  const due = await findDueHolds(client, limit);
  if (due.length > 0) await engine.post({ commands: due.map(toExpiryCommand), mode: "INDEPENDENT" }, NO_CALLER);
  return due.length >= limit;
}

/** The command that ends a hold whose time has come; always the same request. */
export function toExpiryCommand(holdId: Uuid): HoldStepCommand {
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

const NO_CALLER = { assertWaiting: () => undefined };
