import { Writable } from "node:stream";
import { createLogger, format, transports } from "winston";
import { readConfig } from "../../src/config/config.js";
import { loadDescriptors } from "../../src/rpc/descriptors.js";
import { bindMethods, type Methods } from "../../src/rpc/methods.js";
import { createPipeline, type Pipeline } from "../../src/rpc/pipeline.js";
import { startRpcServer } from "../../src/rpc/server.js";

/** A real server without a database, whose single service the test implements. */
export interface StubServer {
  readonly address: string;
  /** Its parsed log lines. */
  readonly logs: readonly Record<string, unknown>[];
  /** Bytes of replies that clients have not taken yet. */
  readonly outgoingBytes: () => number;
  stop(): Promise<void>;
}

const descriptors = loadDescriptors();

/**
 * Serves one service's methods.
 * @param settings override the defaults
 * @param over overrides parts of the pipeline
 */
export async function startStubServer<Definition extends object>(
  definition: Definition,
  methods: Partial<Methods<Definition>>,
  settings: Readonly<Record<string, string>> = {},
  over: Partial<Pipeline> = {},
): Promise<StubServer> {
  const config = readConfig({ GREY_PORT: "0", ...settings });
  const logs: Record<string, unknown>[] = [];
  const stream = new Writable({
    write: (line: Buffer, _encoding, done) => {
      logs.push(JSON.parse(line.toString()) as Record<string, unknown>);
      done();
    },
  });
  const logger = createLogger({ format: format.json(), transports: [new transports.Stream({ stream })] });
  const findCurrency = () => Promise.resolve(undefined);
  const pipeline: Pipeline = {
    ...createPipeline(config, descriptors, logger, findCurrency, new AbortController().signal),
    ...over,
  };
  const bound = bindMethods(definition, () => methods as Methods<Definition>, pipeline);
  const server = await startRpcServer(config, [bound], [], pipeline.admission);
  return { address: server.address, logs, outgoingBytes: () => server.outgoingBytes, stop: () => server.stop(1_000) };
}
