import type { Config } from "../config/config.js";
import type { Database } from "../db/database.js";
import type { Sweep } from "../db/sweep.js";
import { startExpiry } from "../ledger/hold/expiry.js";
import type { Engine } from "../ledger/post/engine.js";
import { startScheduler } from "../ledger/schedule/scheduler.js";
import { startBalanceAlerts } from "../readers/balance-alerts.js";

/** Journal records that are read together for alerts. */
const ALERT_PAGE_SIZE = 5_000;

/**
 * Starts what the service does on its own: expiring holds, running schedules, evaluating balance alerts.
 * @param onError receives a message for the log
 */
export function startSweeps(
  database: Database,
  engine: Engine,
  config: Config,
  onError: (message: string, error: unknown) => void,
): Sweep[] {
  // Sweeps that post leave most of the posting queue to callers.
  const postingsMax = Math.max(1, Math.min(500, Math.floor(config.GREY_POSTING_QUEUE_MAX / 4)));
  return [
    startExpiry(database, engine, { intervalMs: config.GREY_HOLD_EXPIRY_EVERY_MS, batchMax: postingsMax }, (error) =>
      onError("holds could not be expired", error),
    ),
    startScheduler(database, engine, { intervalMs: config.GREY_SCHEDULE_EVERY_MS, batchMax: postingsMax }, (error) =>
      onError("schedules could not be run", error),
    ),
    startBalanceAlerts(database, { intervalMs: config.GREY_ALERT_EVERY_MS, batchMax: ALERT_PAGE_SIZE }, (error) =>
      onError("balance alerts could not be evaluated", error),
    ),
  ];
}
