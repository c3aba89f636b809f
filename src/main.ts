import { setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { DatabaseTrouble } from "./base/failure.js";
import type { Config } from "./config/config.js";
import { describeDatabase } from "./config/database-url.js";
import { connectDatabase, type Database } from "./db/database.js";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "./db/embedded-postgres.js";
import { monitorDatabase, type DatabaseMonitor } from "./db/monitor.js";
import { findDangers } from "./db/session.js";
import { createPostingConnection } from "./ledger/post/connection.js";
import { startHandover, type Handover } from "./ledger/handover/handover.js";
import { createEngine, type OwnEngine } from "./ledger/post/engine.js";
import { follow } from "./ledger/post/follow.js";
import { createMemory } from "./ledger/post/memory.js";
import { warm } from "./ledger/post/warm.js";
import { readHead } from "./journal/head.js";
import { loadDescriptors } from "./rpc/descriptors.js";
import type { FindCurrency } from "./rpc/amounts.js";
import { createPipeline } from "./rpc/pipeline.js";
import { reflectionServices } from "./rpc/reflection.js";
import { startRpcServer } from "./rpc/server.js";
import { connectWhenReachable } from "./server/first-connection.js";
import { bindServices, createServiceParts, SERVICE_NAMES, type ServiceParts } from "./server/services.js";
import { startSweeps } from "./server/sweeps.js";
import { StopStack } from "./server/stop-stack.js";
import { findDifferences } from "./services/transaction/find-differences.js";
import { describeError, type Logger } from "./telemetry/logger.js";

/** A running Grey. */
export interface Grey {
  /** host:port of the gRPC server. */
  readonly address: string;
  /** The place of the data, for people. */
  readonly dataPlace: string;
  /** Answers the calls in flight, takes no new ones, and stops everything that was started. */
  stop(): Promise<void>;
  /** Ends streams with SHUTTING_DOWN and PostgreSQL at once, as in a crash, for a process that is about to end without waiting. */
  abandon(): Promise<void>;
}

/**
 * Starts everything in this process: the gRPC server, whose health is NOT_SERVING until the rest is there; PostgreSQL, unless
 * the settings name one; the schema; posting; the sweeps; the services.
 * @param signal aborts the start
 * @throws SettingError for what the operator can mend; the signal's reason when the start was aborted
 */
export async function startGrey(
  config: Config,
  logger: Logger,
  signal: AbortSignal = new AbortController().signal,
): Promise<Grey> {
  const draining = new AbortController();
  // Each open stream listens.
  setMaxListeners(0, draining.signal);
  let isStopping = false;
  let parts: ServiceParts | undefined;
  let monitor: DatabaseMonitor | undefined;
  const reportTrouble = (trouble: DatabaseTrouble): void => monitor?.reportTrouble(trouble);

  const descriptors = loadDescriptors();
  const findCurrency: FindCurrency = async (code) => parts?.findCurrency(code);
  const pipeline = createPipeline(config, descriptors, logger, findCurrency, draining.signal);
  const services = bindServices(pipeline);
  const reflection = reflectionServices(descriptors, [...SERVICE_NAMES, ...SYSTEM_SERVICE_NAMES]);
  const server = await startRpcServer(config, [...services.bound, ...reflection], SERVICE_NAMES, pipeline.admission);

  const started = new StopStack(logger);
  const stopAll = async (): Promise<void> => {
    // The server started first and stops first: calls in flight need everything else.
    started.push(() => server.stop(config.GREY_SHUTDOWN_TIMEOUT_MS));
    await started.stopAll();
  };
  try {
    const embedded = config.DATABASE_URL === undefined ? await startEmbedded(config, logger, signal) : undefined;
    if (embedded !== undefined) started.push(() => embedded.stop());
    const url = embedded?.ownerUrl ?? config.DATABASE_URL ?? "";

    const place = { url, dataDir: embedded?.dataDir };
    const database = await connectWhenReachable(place, config, logger, signal, reportTrouble);
    started.push(() => database.close());
    for (const danger of await findDangers(database.pool)) logger.warn(danger);
    // Posting has its own connections: whatever exhausts the other pool does not keep money from moving.
    const postingConfig = { ...config, GREY_DATABASE_POOL_SIZE: POSTING_POOL_SIZE };
    const postingDatabase = await connectDatabase(url, postingConfig, reportTrouble);
    started.push(() => postingDatabase.close());
    const postingConnection = createPostingConnection(url, config);
    started.push(() => postingConnection.stop());
    const memory = createMemory(config);
    await follow(postingDatabase.pool, memory, await readHead(postingDatabase.pool));
    const own = createEngine(postingDatabase, postingConnection, config, findDifferences, memory);
    const warming = new AbortController();
    const warmed = warm(database.pool, memory, warming.signal).catch((error: unknown) => {
      if (!isStopping) logger.warn("accounts could not be read into memory", describeError(error));
    });
    started.push(async () => {
      warming.abort();
      await warmed;
    });
    const handover = await share(own, postingDatabase, config, logger);
    if (handover !== undefined) started.push(() => handover.stop());
    const engine = handover?.engine ?? own;
    parts = await createServiceParts(database, engine, config);
    services.open(parts);

    const sweeps = startSweeps(database, engine, config, (message, error) => {
      if (!isStopping) logger.warn(message, describeError(error));
    });
    for (const sweep of sweeps) started.push(() => sweep.stop());

    const watching = monitorDatabase(url, config, {
      onChange: (trouble, error) => {
        if (!isStopping) server.setServing(trouble === undefined);
        if (trouble === undefined) logger.warn("the database is back");
        else logger.warn(TROUBLE[trouble], error instanceof Error ? { cause: error.message } : {});
      },
      onSilence: () => {
        postingConnection.breakConnection();
        postingDatabase.breakConnections();
        database.breakConnections();
      },
    });
    monitor = watching;
    started.push(() => watching.stop());
    server.setServing(true);

    return {
      address: server.address,
      dataPlace: embedded === undefined ? describeDatabase(url) : embedded.dataDir,
      stop: async () => {
        isStopping = true;
        server.setServing(false);
        if (config.GREY_DRAIN_MS > 0)
          await delay(config.GREY_DRAIN_MS, undefined, { signal: draining.signal }).catch(() => undefined);
        draining.abort();
        await stopAll();
      },
      abandon: async () => {
        draining.abort();
        await Promise.all([server.flush(), embedded?.stop({ immediate: true })]);
      },
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

const SYSTEM_SERVICE_NAMES = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
] as const;

/** For accounts that are not in memory, and for batches that take their turn. */
const POSTING_POOL_SIZE = 3;

const TROUBLE = {
  unreachable: "the database cannot be reached",
  read_only: "the database is read-only",
  disk_full: "the database takes no writes: its disk is full",
  refusing: "the database refuses sessions",
} as const satisfies Record<DatabaseTrouble, string>;

/** Shares the posting with the other servers of the ledger, if the settings say how these reach this one. */
async function share(
  own: OwnEngine,
  database: Database,
  config: Config,
  logger: Logger,
): Promise<Handover | undefined> {
  const { GREY_PEER_ADDRESS: address } = config;
  if (address === undefined) return undefined;
  return startHandover(
    own,
    database,
    { ...config, GREY_PEER_ADDRESS: address },
    {
      onRole: (role) => {
        if (role.name === "POSTER") logger.info("posting for all servers");
        else if (role.name === "FRONT") logger.info("handing postings over", { to: role.poster });
        else logger.warn("posting for itself", { cause: role.cause });
      },
      onFault: (error) => logger.error("fault", describeError(error)),
    },
  );
}

function startEmbedded(config: Config, logger: Logger, signal: AbortSignal): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({
    dataDir: config.GREY_DATA_DIR,
    port: config.GREY_EMBEDDED_PORT,
    signal,
    onProgress: (message) => logger.info("postgres", { said: message }),
  });
}
