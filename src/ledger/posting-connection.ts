import pg from "pg";
import { breakConnection, parserOf, sessionOptions } from "../db/database.js";
import { FailureError } from "../base/failure.js";
import type { Config } from "../config/config.js";

/** One statement for the posting connection. */
export interface PostingQuery {
  readonly name: string;
  readonly text: string;
  readonly values: unknown[];
}

/**
 * The connection that optimistic batches are sent on. It is pipelined: a batch is sent while the one before it is being
 * committed, and PostgreSQL takes them in the order in which they were sent.
 */
export interface PostingConnection {
  /**
   * Sends a statement, in the order of the calls. Fails with DATABASE_UNAVAILABLE when it was not sent, with
   * OUTCOME_UNKNOWN when a warning came with its commit, and otherwise with the database's or the connection's error.
   */
  query<Row extends pg.QueryResultRow>(query: PostingQuery): Promise<pg.QueryResult<Row>>;
  /** Breaks the connection, for when the network has fallen silent. The next statement makes another one. */
  breakConnection(): void;
  stop(): Promise<void>;
}

export function createPostingConnection(url: string, config: Config): PostingConnection {
  let current: Promise<pg.Client> | undefined;
  let warnings = 0;

  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({
      connectionString: url,
      application_name: "grey-posting",
      connectionTimeoutMillis: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
      keepAlive: true,
      pipeline: true,
      types: { getTypeParser: parserOf as typeof pg.types.getTypeParser },
      options: sessionOptions(config),
    });
    const forget = (): void => {
      current = undefined;
    };
    client.on("error", forget);
    client.on("end", forget);
    // A commit that is cancelled while it waits for a replica succeeds with a warning: it may be lost in a failover.
    client.on("notice", ({ severity }) => {
      if (severity === "WARNING") warnings += 1;
    });
    await client.connect();
    return client;
  };

  return {
    query: async (query) => {
      current ??= connect();
      let client: pg.Client;
      try {
        client = await current;
      } catch (error) {
        current = undefined;
        throw new FailureError({ reason: "DATABASE_UNAVAILABLE" }, { cause: error });
      }
      const warningsBefore = warnings;
      const result = await client.query(query);
      if (warnings !== warningsBefore) throw new FailureError({ reason: "OUTCOME_UNKNOWN" });
      return result;
    },
    breakConnection: () => {
      void current?.then(breakConnection, () => undefined);
    },
    stop: async () => {
      const client = await current?.catch(() => undefined);
      await client?.end().catch(() => undefined);
    },
  };
}
