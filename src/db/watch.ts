import pg from "pg";
import type { Config } from "../config/config.js";
import { breakConnection } from "./database.js";
import { openSession, servicePlan } from "./session.js";

/** Watches over the database through a connection of its own. */
export interface DatabaseWatch {
  stop(): Promise<void>;
}

/** Who wants to know. */
export interface WatchListener {
  /** Told when it went away and when it is back; it is taken to be there at first. */
  readonly onChange: (isThere: boolean) => void;
  /** Told when the database does not answer, though the connection stands: others like it would wait for ever. */
  readonly onSilence: () => void;
}

const PROBE_EVERY_MS = 2_000;
const RECONNECT_EVERY_MS = 250;

/**
 * Tells when the database goes away and when it is back: at once when the connection breaks, within seconds when it only
 * falls silent. A connection of the pool would be no measure: it may be waited for because there is much to do.
 */
export function watchDatabase(url: string, config: Config, { onChange, onSilence }: WatchListener): DatabaseWatch {
  const plan = servicePlan(config);
  let isStopped = false;
  let wasThere = true;
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;

  const tell = (isThere: boolean): void => {
    if (isThere === wasThere) return;
    wasThere = isThere;
    onChange(isThere);
  };

  const lost = (broken: pg.Client): void => {
    if (isStopped || client !== broken) return;
    client = undefined;
    tell(false);
    broken.removeAllListeners();
    broken.on("error", () => undefined);
    broken.end().catch(() => undefined);
    timer = setTimeout(connect, RECONNECT_EVERY_MS);
  };

  const probe = (watched: pg.Client): void => {
    if (isStopped || client !== watched) return;
    // Not read-only and not in recovery: a former primary does not serve.
    watched.query("SELECT pg_is_in_recovery() AS standby").then(
      ({ rows }: pg.QueryResult<{ standby: boolean }>) => {
        if (rows[0]?.standby === true) return lost(watched);
        if (isStopped || client !== watched) return;
        tell(true);
        timer = setTimeout(() => probe(watched), PROBE_EVERY_MS);
      },
      (error: unknown) => {
        if (!isStopped && error instanceof Error && error.message === "Query read timeout") onSilence();
        lost(watched);
      },
    );
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
    connecting.on("error", () => lost(connecting));
    connecting.on("end", () => lost(connecting));
    connecting
      .connect()
      .then(() => openSession(connecting, plan))
      .then(
        () => probe(connecting),
        () => lost(connecting),
      );
  };

  connect();
  return {
    stop: async () => {
      isStopped = true;
      clearTimeout(timer);
      if (client === undefined) return;
      breakConnection(client);
    },
  };
}
