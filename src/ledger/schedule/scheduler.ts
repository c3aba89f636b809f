import { assertPresent } from "../../base/assert.js";
import { LEDGER_CALLER, newId } from "../../base/ids.js";
import type { Database, Queryable } from "../../db/database.js";
import { startSweep, withAdvisoryLock, type Sweep, type SweepOptions } from "../../db/sweep.js";
import { inTransaction } from "../../db/in-transaction.js";
import type { Engine } from "../post/engine.js";
import { findDueSchedules } from "./rows.js";
import type { Schedule } from "./schedule.js";
import type { MovementCommand } from "../command/command.js";
import { recordAttempts, toRequestId } from "./write.js";

/** Any number that nothing else locks in this database. */
const LOCK_KEY = 7_236_914_452_002n;

/**
 * Makes the runs of schedules that are due, in the order of their times, from now on. Of several processes one does it at a
 * time; and whoever does, each attempt has one request id, so that it is posted once. A run that was posted and not recorded
 * is found again: its request gets the same answer.
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
      // A schedule that has missed runs is due again once one is made.
      withAdvisoryLock(database, LOCK_KEY, async (client) => (await runDue(database, client, engine, limit)) > 0),
    onError,
  );
}

/**
 * Makes one attempt for each schedule that is due, so that one that has missed many runs does not hold up others.
 * @returns how many attempts it has recorded
 */
export async function runDue(database: Database, client: Queryable, engine: Engine, limit: number): Promise<number> {
  const due = await findDueSchedules(client, limit);
  if (due.length === 0) return 0;
  const outcomes = await engine.post({ commands: due.map(toCommand), mode: "INDEPENDENT" }, NO_CALLER);
  const made = due.flatMap((schedule, index) => {
    const outcome = assertPresent(outcomes[index], "an outcome");
    // One without a transaction was paused or cancelled meanwhile: its request id was taken.
    return "transaction" in outcome ? [{ schedule, transaction: outcome.transaction }] : [];
  });
  return inTransaction(database, NO_CALLER, (session) => recordAttempts(session.client, made));
}

/** The command of the schedule's next attempt; always the same request. */
function toCommand(schedule: Schedule): MovementCommand {
  const { movement, plannedTime } = schedule;
  return {
    ...movement,
    caller: LEDGER_CALLER,
    requestId: toRequestId(schedule),
    transactionId: newId(),
    effectiveTime: plannedTime,
    externalReference: "",
    preconditions: [],
    requestTerms: null,
  };
}

const NO_CALLER = { assertWaiting: () => undefined };
