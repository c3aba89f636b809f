import pg from "pg";
import { breakConnection, getParser, readTimeoutMs } from "../../db/database.js";
import { openSession, servicePlan } from "../../db/session.js";
import { isWarning } from "../../db/sqlstate.js";
import { toUnavailable } from "../../db/in-transaction.js";
import { FailureError } from "../../base/failure.js";
import type { Config } from "../../config/config.js";

/** A named statement for the posting connection. */
export interface PostingQuery {
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

/**
 * The connection that optimistic batches are sent on. It is pipelined: a batch is sent while the one before it is being
 * committed, and PostgreSQL executes them in the order in which they were sent.
 */
export interface PostingConnection {
  /**
   * Sends statements in the order of the calls. Fails with DATABASE_UNAVAILABLE when the statement was not sent, with
   * OUTCOME_UNKNOWN when its commit raised a warning, and otherwise with the database's or the connection's error.
   */
  query<Row extends pg.QueryResultRow>(query: PostingQuery): Promise<pg.QueryResult<Row>>;
  /** Closes a connection that no longer responds. The next statement opens another one. */
  breakConnection(): void;
  stop(): Promise<void>;
}

export function createPostingConnection(url: string, config: Config): PostingConnection {
  const plan = servicePlan(config);
  let current: Promise<pg.Client> | undefined;
  let warnings = 0;

  const connect = (): Promise<pg.Client> => {
    const client = new pg.Client({
      connectionString: url,
      application_name: "grey-posting",
      connectionTimeoutMillis: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
      keepAlive: true,
      // When a response is overdue, the driver closes the connection, and all statements sent on it fail.
      query_timeout: readTimeoutMs(config),
      pipeline: true,
      types: { getTypeParser: getParser as typeof pg.types.getTypeParser },
    });
    const connected = open(client);
    const forget = (): void => {
      if (current === connected) current = undefined;
    };
    client.on("error", forget);
    client.on("end", forget);
    connected.catch(forget);
    // A commit that is cancelled while it waits for a replica succeeds with a warning: a failover may lose it.
    client.on("notice", (notice) => {
      if (isWarning(notice)) warnings += 1;
    });
    return connected;
  };

  const open = async (client: pg.Client): Promise<pg.Client> => {
    try {
      await client.connect();
      await openSession(client, plan);
      return client;
    } catch (error) {
      breakConnection(client);
      throw error;
    }
  };

  return {
    query: async (query) => {
      current ??= connect();
      let client: pg.Client;
      try {
        client = await current;
      } catch (error) {
        throw toUnavailable(error);
      }
      const warningsBefore = warnings;
      const result = await client.query(query);
      if (warnings !== warningsBefore) throw new FailureError({ reason: "OUTCOME_UNKNOWN" });
      return result;
    },
    breakConnection: () => {
      current?.then(breakConnection).catch(() => undefined);
    },
    stop: async () => {
      const client = await current?.catch(() => undefined);
      if (client === undefined) return;
      // end() waits for statements in progress, on a dead network for ever.
      const timer = setTimeout(() => breakConnection(client), config.GREY_DATABASE_CONNECT_TIMEOUT_MS);
      await client.end().catch(() => undefined);
      clearTimeout(timer);
    },
  };
}
