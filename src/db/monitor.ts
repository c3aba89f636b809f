import pg from "pg";
import type { DatabaseTrouble } from "../base/failure.js";
import type { Config } from "../config/config.js";
import { breakConnection } from "./database.js";
import { openSession, servicePlan, SessionError, sharedBackendsError } from "./session.js";
import { isReadTimeout, SQLSTATE, classifyTrouble } from "./sqlstate.js";

/** Watches over the database through a connection of its own. */
export interface DatabaseMonitor {
  /** A transaction could not be written. Whether another one can is tried until it can. */
  reportTrouble(trouble: DatabaseTrouble): void;
  stop(): Promise<void>;
}

/** Who wants to know. */
export interface MonitorListener {
  /** Told what keeps it from its work, and undefined when it is back; it is taken to be there at first. */
  readonly onChange: (trouble: DatabaseTrouble | undefined, error: unknown) => void;
  /** Told when the database does not answer, though the connection stands: others like it would wait for ever. */
  readonly onSilence: () => void;
}

const PROBE_EVERY_MS = 2_000;
const DOUBT_EVERY_MS = 500;
const RECONNECT_EVERY_MS = 250;

/** Writes into the log, which is flushed at commit, and some megabytes beside the tables, as a sort that memory has no room for. */
async function tryToWrite(client: pg.Client): Promise<void> {
  await client.query(`
    SELECT set_config('work_mem', '64kB', true);
    SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY -n) sorted;
    SELECT pg_logical_emit_message(true, 'grey', repeat('probe', 10000))`);
}

/**
 * Tells when the database goes away and when it is back: at once when the connection breaks, within seconds when it only
 * falls silent. A connection of the pool would be no measure: it may be waited for because there is much to do.
 */
export function monitorDatabase(
  url: string,
  config: Config,
  { onChange, onSilence }: MonitorListener,
): DatabaseMonitor {
  const plan = servicePlan(config);
  let isStopped = false;
  let trouble: DatabaseTrouble | undefined;
  let isDoubted = false;
  let backend = 0;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const tell = (found: DatabaseTrouble | undefined, error?: unknown): void => {
    if (found === trouble) return;
    trouble = found;
    onChange(found, error);
  };

  const lost = (broken: pg.Client, error?: unknown): void => {
    if (isStopped || client !== broken) return;
    client = undefined;
    tell(classifyTrouble(error), error);
    broken.removeAllListeners();
    broken.on("error", () => undefined);
    broken.end().catch(() => undefined);
    timer = setTimeout(connect, RECONNECT_EVERY_MS);
  };

  const probe = async (watched: pg.Client): Promise<void> => {
    if (isStopped || client !== watched) return;
    try {
      const { rows } = await watched.query<{ standby: boolean; pid: number }>(
        "SELECT pg_is_in_recovery() AS standby, pg_backend_pid() AS pid",
      );
      // A former primary does not serve, and neither does a session that a pooler gives another backend.
      if (rows[0]?.standby === true) throw new SessionError(SQLSTATE.READ_ONLY, "the database is a standby now");
      if (backend !== 0 && rows[0]?.pid !== backend) throw sharedBackendsError();
      backend = rows[0]?.pid ?? 0;
      // What is refused meanwhile is doubted anew.
      const wasDoubted = isDoubted;
      isDoubted = false;
      if (wasDoubted) await tryToWrite(watched);
      if (isStopped || client !== watched) return;
      if (!isDoubted) tell(undefined);
    } catch (error) {
      if (isStopped) return;
      if (isReadTimeout(error)) onSilence();
      if (classifyTrouble(error) !== "disk_full") return lost(watched, error);
      isDoubted = true;
      tell("disk_full", error);
    }
    const again = (): void => {
      probe(watched).catch((error: unknown) => lost(watched, error));
    };
    timer = setTimeout(again, isDoubted ? DOUBT_EVERY_MS : PROBE_EVERY_MS);
  };

  const connect = (): void => {
    if (isStopped) return;
    const connecting = new pg.Client({
      connectionString: url,
      application_name: "grey-watch",
      connectionTimeoutMillis: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
      query_timeout: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
    });
    client = connecting;
    backend = 0;
    connecting.on("error", (error) => lost(connecting, error));
    connecting.on("end", () => lost(connecting));
    connecting
      .connect()
      .then(() => openSession(connecting, plan))
      .then(
        () => probe(connecting),
        (error: unknown) => lost(connecting, error),
      );
  };

  connect();
  return {
    reportTrouble: (found) => {
      // The probes and the end of the connection tell the rest.
      if (found !== "disk_full" || isStopped) return;
      isDoubted = true;
      tell("disk_full");
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      if (client === undefined) return;
      breakConnection(client);
    },
  };
}
