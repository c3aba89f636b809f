import { once, setMaxListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { AlertServiceService } from "../generated/grey/alert/v1/alert_service.js";
import { LedgerServiceService } from "../generated/grey/ledger/v1/ledger_service.js";
import { ScheduleServiceService } from "../generated/grey/schedule/v1/schedule_service.js";
import { TransactionServiceService } from "../generated/grey/transaction/v1/transaction_service.js";
import { UserServiceService } from "../generated/grey/user/v1/user_service.js";
import { WalletServiceService } from "../generated/grey/wallet/v1/wallet_service.js";
import type { DatabaseTrouble } from "./base/failure.js";
import { type Config, DEFAULT_ADDRESS } from "./config/config.js";
import { reachableAddress } from "./config/address.js";
import { describeDatabase } from "./config/database-url.js";
import { connectDatabase, type Database } from "./db/database.js";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "./db/embedded-postgres.js";
import { migrateUp, migrationPlan } from "./db/migrate.js";
import { findDangers } from "./db/session.js";
import { isUnavailable } from "./db/sqlstate.js";
import { type DatabaseAddress, describeUnreachable, explainConnection } from "./db/unreachable.js";
import { monitorDatabase, type DatabaseMonitor } from "./db/monitor.js";
import { InstallationEntity } from "./entities/installation.js";
import { createFindCurrency } from "./ledger/currency/find-currency.js";
import { createEngine, type Engine } from "./ledger/post/engine.js";
import { startExpiry } from "./ledger/hold/expiry.js";
import { createPostingConnection } from "./ledger/post/connection.js";
import { createJournalTail } from "./ledger/watch/journal-tail.js";
import { startScheduler } from "./ledger/schedule/scheduler.js";
import { startBalanceAlerts } from "./readers/balance-alerts.js";
import type { FindCurrency } from "./rpc/amounts.js";
import { loadDescriptors } from "./rpc/descriptors.js";
import { bindMethods, type BoundService, type Methods } from "./rpc/methods.js";
import { Admission } from "./rpc/admission.js";
import type { Pipeline } from "./rpc/pipeline.js";
import { reflectionServices } from "./rpc/reflection.js";
import { startRpcServer, type RpcServer } from "./rpc/server.js";
import { createValidatorFor } from "./rpc/validate.js";
import { effectiveWindow } from "./services/transaction/effective-window.js";
import { createAlertService } from "./services/alert/alert-service.js";
import { createLedgerService } from "./services/ledger/ledger-service.js";
import { createPageTokens } from "./services/shared/paging.js";
import { createScheduleService } from "./services/schedule/schedule-service.js";
import { createTransactionService } from "./services/transaction/transaction-service.js";
import { createUserService } from "./services/user/user-service.js";
import { createWalletService } from "./services/wallet/wallet-service.js";
import { createServerLogger, describeError, type Logger } from "./telemetry/logger.js";
import { logUnhandledRejections } from "./telemetry/faults.js";
import { stopTelemetry } from "./telemetry/stop.js";

/** A running Grey. */
export interface Grey {
  /** host:port of the gRPC server. */
  readonly address: string;
  /** Where the data is, for people. */
  readonly dataPlace: string;
  /** Answers the calls in flight, takes no new ones, and ends everything that was started. */
  stop(): Promise<void>;
  /** Ends PostgreSQL at once, as in a crash, for a process that is about to end without waiting for anything. */
  abandon(): Promise<void>;
}

/**
 * Starts everything in this process: the gRPC server, which says NOT_SERVING until the rest is there; PostgreSQL, unless
 * the settings name one; the schema; the services.
 * @param signal gives the start up
 * @throws SettingError for what the operator can mend; the signal's reason when that gave up
 */
export async function startGrey(
  config: Config,
  logger: Logger,
  signal: AbortSignal = new AbortController().signal,
): Promise<Grey> {
  const admission = new Admission({
    callsInFlightMax: config.GREY_CALLS_IN_FLIGHT_MAX,
    callWaitMs: config.GREY_CALL_WAIT_MS,
    retryAfterMs: config.GREY_RETRY_AFTER_MS,
  });
  const draining = new AbortController();
  // Each open stream listens.
  setMaxListeners(0, draining.signal);
  let isStopping = false;
  let services: Services | undefined;
  let watch: DatabaseMonitor | undefined;
  const doubt = (trouble: DatabaseTrouble): void => watch?.reportTrouble(trouble);
  const server = await listen(config, logger, admission, draining.signal, () => services);
  // In the order in which they are to be stopped.
  const stops = [() => server.stop(config.GREY_SHUTDOWN_TIMEOUT_MS)];
  try {
    const embedded = config.DATABASE_URL === undefined ? await startEmbedded(config, logger, signal) : undefined;
    if (embedded !== undefined) stops.push(() => embedded.stop());
    const url = embedded?.ownerUrl ?? config.DATABASE_URL ?? "";
    const database = await connectWhenThere(url, config, logger, signal, doubt);
    stops.splice(1, 0, () => disconnect(database, config));
    for (const danger of await findDangers(database.pool)) logger.warn(danger);
    // Posting has connections of its own: whatever fills the other pool does not keep money from moving.
    const books = await connectDatabase(url, { ...config, GREY_DATABASE_POOL_SIZE: POSTING_POOL_SIZE }, doubt);
    stops.splice(1, 0, () => disconnect(books, config));
    const connection = createPostingConnection(url, config);
    stops.splice(1, 0, () => connection.stop());
    const engine = createEngine(books, connection, config);
    services = await createServices(database, engine, config);
    const expiry = startExpiry(database, engine, sweepOptions(config, config.GREY_HOLD_EXPIRY_EVERY_MS), (error) => {
      if (!isStopping) logger.warn("holds could not be expired", describeError(error));
    });
    stops.splice(1, 0, () => expiry.stop());
    const scheduler = startScheduler(database, engine, sweepOptions(config, config.GREY_SCHEDULE_EVERY_MS), (error) => {
      if (!isStopping) logger.warn("scheduled runs could not be made", describeError(error));
    });
    stops.splice(1, 0, () => scheduler.stop());
    const alerts = startBalanceAlerts(
      database,
      { everyMs: config.GREY_ALERT_EVERY_MS, atOnceMax: ALERT_PAGE_SIZE },
      (error) => {
        if (!isStopping) logger.warn("balances could not be watched", describeError(error));
      },
    );
    stops.splice(1, 0, () => alerts.stop());
    const watching = monitorDatabase(url, config, {
      onChange: (trouble, error) => {
        if (!isStopping) server.setServing(trouble === undefined);
        if (trouble === undefined) logger.warn("the database is back");
        else logger.warn(TROUBLE[trouble], error instanceof Error ? { cause: error.message } : {});
      },
      onSilence: () => {
        connection.breakConnection();
        books.breakConnections();
        database.breakConnections();
      },
    });
    watch = watching;
    stops.splice(1, 0, () => watching.stop());
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
        await stopAll(stops, logger);
      },
      abandon: async () => {
        // Streams are told so, before they meet a database that is gone.
        draining.abort();
        await embedded?.stop({ immediate: true });
      },
    };
  } catch (error) {
    await stopAll(stops, logger);
    throw error;
  }
}

/** Records of the journal that are read together for alerts. */
const ALERT_PAGE_SIZE = 5_000;

/** What the service itself posts is to leave most of the queue to others. */
function sweepOptions(config: Config, everyMs: number) {
  const room = Math.floor(config.GREY_POSTING_QUEUE_MAX / 4);
  return { everyMs, atOnceMax: Math.max(1, Math.min(500, room)) };
}

const LINGER_MS_MAX = 1_000;

/** The command `grey serve`: starts, says what to do next, and stops on SIGINT, SIGTERM or SIGHUP. A second one does not wait. */
export async function serve(config: Config): Promise<void> {
  const logger = createServerLogger(config);
  const ending = new AbortController();
  let grey: Grey | undefined;
  const onSignal = (signal: string): void => {
    if (!ending.signal.aborted) return ending.abort(signal);
    Promise.resolve(grey?.abandon())
      .catch(() => undefined)
      .finally(() => process.exit(1));
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("SIGHUP", onSignal);
  logUnhandledRejections(logger);
  try {
    grey = await startGrey(config, logger, ending.signal);
    if (config.GREY_LOG_FORMAT !== "json") process.stdout.write(banner(grey));
    logger.info("serving", { address: grey.address, data: grey.dataPlace });
    if (!ending.signal.aborted) await once(ending.signal, "abort");
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  }
  logger.info("stopping", { signal: String(ending.signal.reason) });
  await grey?.stop();
  await stopTelemetry();
  logger.info("stopped");
  // A connection that the network has swallowed takes no notice of its end, and would keep the process.
  setTimeout(() => process.exit(), LINGER_MS_MAX).unref();
}

interface Services {
  readonly user: Methods<typeof UserServiceService>;
  readonly wallet: Methods<typeof WalletServiceService>;
  readonly transaction: Methods<typeof TransactionServiceService>;
  readonly ledger: Methods<typeof LedgerServiceService>;
  readonly schedule: Methods<typeof ScheduleServiceService>;
  readonly alert: Methods<typeof AlertServiceService>;
  readonly findCurrency: FindCurrency;
}

const SERVICE_NAMES = [
  "grey.user.v1.UserService",
  "grey.wallet.v1.WalletService",
  "grey.transaction.v1.TransactionService",
  "grey.ledger.v1.LedgerService",
  "grey.schedule.v1.ScheduleService",
  "grey.alert.v1.AlertService",
] as const;
const SYSTEM_SERVICE_NAMES = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
] as const;

function listen(
  config: Config,
  logger: Logger,
  admission: Admission,
  draining: AbortSignal,
  services: () => Services | undefined,
): Promise<RpcServer> {
  const descriptors = loadDescriptors();
  const pipeline: Pipeline = {
    validatorFor: createValidatorFor(descriptors.registry),
    logger,
    retryAfterMs: config.GREY_RETRY_AFTER_MS,
    callTimeoutMs: config.GREY_CALL_TIMEOUT_MS,
    admission,
    findCurrency: async (code) => services()?.findCurrency(code),
    serverStreams: { open: 0, max: config.GREY_WATCHES_MAX, stallMs: config.GREY_WATCH_STALL_MS },
    metadataBytesMax: config.GREY_METADATA_BYTES_MAX,
    draining,
  };
  const bound: BoundService[] = [
    bindMethods(UserServiceService, () => services()?.user, pipeline),
    bindMethods(WalletServiceService, () => services()?.wallet, pipeline),
    bindMethods(TransactionServiceService, () => services()?.transaction, pipeline),
    bindMethods(LedgerServiceService, () => services()?.ledger, pipeline),
    bindMethods(ScheduleServiceService, () => services()?.schedule, pipeline),
    bindMethods(AlertServiceService, () => services()?.alert, pipeline),
    ...reflectionServices(descriptors, [...SERVICE_NAMES, ...SYSTEM_SERVICE_NAMES]),
  ];
  return startRpcServer(config, bound, SERVICE_NAMES, admission);
}

async function createServices(database: Database, engine: Engine, config: Config): Promise<Services> {
  const { secret } = await database.dataSource.manager.findOneByOrFail(InstallationEntity, { id: 1 });
  const tokens = createPageTokens(secret);
  const watching = { tail: createJournalTail(database), progressMs: config.GREY_WATCH_PROGRESS_MS };
  const findCurrency = await createFindCurrency(database);
  return {
    findCurrency,
    user: createUserService(database, tokens),
    wallet: createWalletService(database, tokens, watching),
    transaction: createTransactionService(database, engine, tokens, effectiveWindow(config), watching, findCurrency),
    ledger: createLedgerService(database, tokens, watching.progressMs),
    schedule: createScheduleService(database, tokens),
    alert: createAlertService(database, tokens),
  };
}

function startEmbedded(config: Config, logger: Logger, signal: AbortSignal): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({
    dataDir: config.GREY_DATA_DIR,
    port: config.GREY_EMBEDDED_PORT,
    signal,
    onProgress: (message) => logger.info("postgres", { said: message }),
  });
}

/** For books that are not remembered, and for batches that take the locked way. */
const POSTING_POOL_SIZE = 3;

/** Ends the connections; what still runs, though its call was answered or given up, is broken off after a while. */
async function disconnect(database: Database, config: Config): Promise<void> {
  const timer = setTimeout(() => database.breakConnections(), config.GREY_DATABASE_CONNECT_TIMEOUT_MS);
  await database.dataSource.destroy();
  clearTimeout(timer);
}

/** Stops one after the other; what cannot be stopped must not keep the rest from it. */
async function stopAll(stops: readonly (() => Promise<void>)[], logger: Logger): Promise<void> {
  for (const stop of stops) {
    await stop().catch((error: unknown) => logger.warn("could not stop", describeError(error)));
  }
}

const CONNECT_EVERY_MS = 1_000;
const TELL_EVERY_MS = 30_000;

const TROUBLE = {
  unreachable: "the database is gone",
  read_only: "the database is read-only",
  disk_full: "the database takes no writes: its disk is full",
  refusing: "the database refuses to serve",
} as const satisfies Record<DatabaseTrouble, string>;

/** Migrates and connects, and waits for a database that cannot be reached yet: says why, at once, whenever that changes, and every half minute. */
async function connectWhenThere(
  url: string,
  config: Config,
  logger: Logger,
  signal: AbortSignal,
  onTrouble: (trouble: DatabaseTrouble) => void,
): Promise<Database> {
  const since = Date.now();
  let told = { why: "", at: 0 };
  const plan = migrationPlan(config, url);
  const owner: DatabaseAddress = { url: config.GREY_DATABASE_OWNER_URL ?? url, setting: plan.setting };
  for (;;) {
    signal.throwIfAborted();
    let reached = owner;
    try {
      if (config.GREY_MIGRATE_ON_START) {
        const names = await migrateUp(owner.url, plan);
        for (const name of names) logger.info("migrated", { name });
      }
      reached = { url, setting: "DATABASE_URL" };
      return await connectDatabase(url, config, onTrouble).catch((error: unknown) =>
        explainConnection(error, reached, config.GREY_DATABASE_ROLE),
      );
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      const why = describeUnreachable(error, reached.url);
      if (why !== told.why || Date.now() > told.at + TELL_EVERY_MS) {
        told = { why, at: Date.now() };
        const waitedMs = Date.now() - since;
        logger.warn("the database cannot be reached yet", {
          why,
          at: describeDatabase(reached.url),
          setting: reached.setting,
          waitedMs,
        });
      }
      await delay(CONNECT_EVERY_MS, undefined, { signal });
    }
  }
}

/** What to do next, as commands that work as they stand in a terminal without settings. */
function banner({ address, dataPlace }: Grey): string {
  const reachable = reachableAddress(address);
  const grey = reachable === DEFAULT_ADDRESS ? "npx grey" : `npx grey --address ${reachable}`;
  // Nobody of an earlier start has this address.
  const email = `ada.${Date.now().toString(36)}@example.com`;
  return `
  Grey serves on ${address}
  Data:  ${dataPlace}
  Stop:  Ctrl-C

  Next, in another terminal:
    ${grey} user create --name Ada --email ${email}
    ${grey} wallet create ${email} USD --initial "1000.00 USD"
    ${grey} --help
  or, with grpcurl:
    grpcurl -plaintext ${reachable} list

`;
}
