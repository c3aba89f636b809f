import { setTimeout as delay } from "node:timers/promises";
import type { DatabaseTrouble } from "../base/failure.js";
import type { Config } from "../config/config.js";
import { describeDatabase } from "../config/database-url.js";
import { connectDatabase, type Database } from "../db/database.js";
import { assertMigrated, migrateUp, migrationPlan } from "../db/migrate.js";
import { isUnavailable } from "../db/sqlstate.js";
import { type DatabaseAddress, describeUnreachable, explainConnection } from "../db/unreachable.js";
import type { Logger } from "../telemetry/logger.js";

const RETRY_EVERY_MS = 1_000;
const REPEAT_LOG_MS = 30_000;

/** The URL that the service connects with, and the data folder of the embedded PostgreSQL, if that is the database. */
export interface DatabasePlace {
  readonly url: string;
  readonly dataDir: string | undefined;
}

/**
 * Migrates and connects. Waits for a database that cannot be reached yet, and logs why: at once, when the cause changes, and
 * every half minute.
 * @throws SettingError for what only the operator can mend; the signal's reason when it aborts the wait
 */
export async function connectWhenReachable(
  { url, dataDir }: DatabasePlace,
  config: Config,
  logger: Logger,
  signal: AbortSignal,
  onTrouble: (trouble: DatabaseTrouble) => void,
): Promise<Database> {
  const since = Date.now();
  let logged = { why: "", at: 0 };
  const plan = migrationPlan(config, url, dataDir);
  const owner: DatabaseAddress = { url: config.GREY_DATABASE_OWNER_URL ?? url, setting: plan.setting };
  for (;;) {
    signal.throwIfAborted();
    let address = owner;
    try {
      if (config.GREY_MIGRATE_ON_START) {
        const names = await migrateUp(owner.url, plan);
        for (const name of names) logger.info("migrated", { name });
      }
      address = { url, setting: "DATABASE_URL" };
      if (!config.GREY_MIGRATE_ON_START) await assertMigrated(url, config, dataDir);
      return await connectDatabase(url, config, onTrouble).catch((error: unknown) =>
        explainConnection(error, address, config.GREY_DATABASE_ROLE),
      );
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      const why = describeUnreachable(error, address.url);
      if (why !== logged.why || Date.now() > logged.at + REPEAT_LOG_MS) {
        logged = { why, at: Date.now() };
        logger.warn("the database cannot be reached yet", {
          why,
          at: describeDatabase(address.url),
          setting: address.setting,
          waitedMs: Date.now() - since,
        });
      }
      await delay(RETRY_EVERY_MS, undefined, { signal });
    }
  }
}
