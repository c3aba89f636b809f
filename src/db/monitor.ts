import pg from "pg";
import type { DatabaseTrouble } from "../base/failure.js";
import type { Config } from "../config/config.js";
import { breakConnection } from "./database.js";
import { openSession, servicePlan, SessionError, sharedBackendsError } from "./session.js";
import { isReadTimeout, SQLSTATE, classifyTrouble } from "./sqlstate.js";

/** A monitor of the database, with its own connection. */
export interface DatabaseMonitor {
  /** Reports that a transaction could not be written. The monitor then tries to write until it succeeds. */
  reportTrouble(trouble: DatabaseTrouble): void;
  stop(): Promise<void>;
}

/** The receiver of the monitor's findings. */
export interface MonitorListener {
  /** Called with the trouble when it changes, and with undefined when the database is back. At first there is no trouble. */
  readonly onChange: (trouble: DatabaseTrouble | undefined, error: unknown) => void;
  /** Called when the database does not answer on an open connection: other connections would wait for ever. */
  readonly onSilence: () => void;
}

const PROBE_EVERY_MS = 2_000;
const WRITE_PROBE_EVERY_MS = 500;
const RECONNECT_EVERY_MS = 250;

/** Writes to the WAL, which is flushed at commit, and sorts more than fits into work_mem, which writes some megabytes of temporary files. */
async function tryToWrite(client: pg.Client): Promise<void> {
  await client.query(`
    SELECT set_config('work_mem', '64kB', true);
    SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) n ORDER BY -n) sorted;
    SELECT pg_logical_emit_message(true, 'grey', repeat('probe', 10000))`);
}

/**
 * Reports when the database becomes unavailable and when it is back: at once when the connection breaks, within seconds when it
 * falls silent. A pooled connection would mislead: a wait for it may only mean load.
 */
export function monitorDatabase(
  url: string,
  config: Config,
  { onChange, onSilence }: MonitorListener,
): DatabaseMonitor {
  const plan = servicePlan(config);
  let isStopped = false;
  let trouble: DatabaseTrouble | undefined;
  let isWriteSuspect = false;
  let backend = 0;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const report = (found: DatabaseTrouble | undefined, error?: unknown): void => {
    if (found === trouble) return;
    trouble = found;
    onChange(found, error);
  };

  const lost = (broken: pg.Client, error?: unknown): void => {
    if (isStopped || client !== broken) return;
    client = undefined;
    report(classifyTrouble(error), error);
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
      // Neither a former primary nor a session that a pooler moved to another backend may serve.
      if (rows[0]?.standby === true) throw new SessionError(SQLSTATE.READ_ONLY, "the database is a standby now");
      if (backend !== 0 && rows[0]?.pid !== backend) throw sharedBackendsError();
      backend = rows[0]?.pid ?? 0;
      // A refusal during the probe sets the flag again.
      const mustWrite = isWriteSuspect;
      isWriteSuspect = false;
      if (mustWrite) await tryToWrite(watched);
      if (isStopped || client !== watched) return;
      if (!isWriteSuspect) report(undefined);
    } catch (error) {
      if (isStopped) return;
      if (isReadTimeout(error)) onSilence();
      if (classifyTrouble(error) !== "disk_full") return lost(watched, error);
      isWriteSuspect = true;
      report("disk_full", error);
    }
    const repeat = (): void => {
      probe(watched).catch((error: unknown) => lost(watched, error));
    };
    timer = setTimeout(repeat, isWriteSuspect ? WRITE_PROBE_EVERY_MS : PROBE_EVERY_MS);
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
      // Probes and the end of the connection reveal the other kinds.
      if (found !== "disk_full" || isStopped) return;
      isWriteSuspect = true;
      report("disk_full");
    },
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      if (client === undefined) return;
      breakConnection(client);
    },
  };
}
