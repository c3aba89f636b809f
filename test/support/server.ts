import { Writable } from "node:stream";
import { createLogger, format, transports } from "winston";
import { readConfig } from "../../src/config/config.js";
import { startGrey } from "../../src/main.js";
import { createTestDatabase } from "./cluster.js";

/** A real server in this process, on a database of its own. */
export interface TestServer {
  readonly address: string;
  /** The database's URL for a superuser. */
  readonly databaseUrl: string;
  /** Its parsed log lines. */
  readonly logs: readonly Record<string, unknown>[];
  stop(): Promise<void>;
}

/**
 * Starts a server.
 * @param settings override the defaults; a database given by DATABASE_URL is kept
 */
export async function startServer(settings: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  const database = settings.DATABASE_URL === undefined ? await createTestDatabase() : undefined;
  const databaseUrl = database?.url ?? settings.DATABASE_URL ?? "";
  const logs: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: "debug",
    format: format.json({ bigint: true }),
    transports: [
      new transports.Stream({
        stream: new Writable({
          write: (line: Buffer, _encoding, done) => {
            logs.push(JSON.parse(line.toString()) as Record<string, unknown>);
            // A fault of the service explains a failing test better than the test itself.
            if (line.includes('"level":"error"')) process.stderr.write(line);
            done();
          },
        }),
      }),
    ],
  });
  const grey = await startGrey(readConfig({ DATABASE_URL: databaseUrl, GREY_PORT: "0", ...settings }), logger);
  return {
    address: grey.address,
    databaseUrl,
    logs,
    stop: async () => {
      await grey.stop();
      await database?.drop();
    },
  };
}
