import { NO_CALLER } from "../../base/caller-context.js";
import { assertPresent } from "../../base/assert.js";
import { LEDGER_CALLER, newId } from "../../base/ids.js";
import type { Database, Queryable } from "../../db/database.js";
import { startSweep, withAdvisoryLock, type Sweep, type SweepOptions } from "../../db/sweep.js";
import { inTransaction } from "../../db/in-transaction.js";
import type { Engine } from "../post/engine.js";
import { findDueSchedules } from "./store.js";
import type { Schedule } from "./schedule.js";
import { NO_CALLER_DATA, type MovementCommand } from "../command/command.js";
import { recordAttempts, toRequestId } from "./runs.js";

/** An advisory lock that nothing else in this database takes. */
const LOCK_KEY = 7_236_914_452_002n;

/**
 * Starts the runs of due schedules, in the order of their times. One process at a time does this, and each attempt has one request id, so
 * that it is posted once. A run that was posted but not recorded is submitted again, and answered with the same transaction.
 */
export function startScheduler(
  database: Database,
  engine: Engine,
  options: SweepOptions,
  onError: (error: unknown) => void,
): Sweep {
  return startSweep(
    options,
    (limit) =>
      // A schedule that has missed several runs stays due after one of them.
      withAdvisoryLock(database, LOCK_KEY, async (client) => (await runDue(database, client, engine, limit)) > 0),
    onError,
  );
}

/**
 * Posts and records one attempt for each due schedule, so that a schedule that has missed many runs does not delay others.
 * @returns the number of attempts recorded
 */
export async function runDue(database: Database, client: Queryable, engine: Engine, limit: number): Promise<number> {
  const due = await findDueSchedules(client, limit);
  if (due.length === 0) return 0;
  const outcomes = await engine.post({ commands: due.map(toCommand), mode: "INDEPENDENT" }, NO_CALLER);
  const attempts = due.flatMap((schedule, index) => {
    const outcome = assertPresent(outcomes[index], "an outcome");
    // No transaction: the schedule was paused or cancelled meanwhile, which claimed the request id.
    return "transaction" in outcome ? [{ schedule, transaction: outcome.transaction }] : [];
  });
  return inTransaction(database, NO_CALLER, (session) => recordAttempts(session.client, attempts));
}

/** Returns the command of the schedule's next attempt; always the same request. */
function toCommand(schedule: Schedule): MovementCommand {
  const { movement, plannedTime } = schedule;
  const { description, metadata, ...terms } = movement;
  return {
    ...terms,
    data: { ...NO_CALLER_DATA, description, metadata },
    caller: LEDGER_CALLER,
    requestId: toRequestId(schedule),
    transactionId: newId(),
    effectiveTime: plannedTime,
    preconditions: [],
    requestTerms: null,
  };
}
