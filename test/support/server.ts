import { Writable } from "node:stream";
import { createLogger, format, transports } from "winston";
import { readConfig } from "../../src/config/config.js";
import { startGrey } from "../../src/main.js";
import { createTestDatabase } from "./cluster.js";

/** A real server on a database of its own, in this process. */
export interface TestServer {
  readonly address: string;
  /** Of the database, as superuser. */
  readonly databaseUrl: string;
  /** What it logged, parsed. */
  readonly logs: readonly Record<string, unknown>[];
  stop(): Promise<void>;
}

/**
 * Starts a server.
 * @param settings over the defaults; DATABASE_URL names a database that the caller keeps
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
            // A fault of the service itself explains a red test better than the test can.
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
