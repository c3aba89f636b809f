import type { Socket } from "node:net";
import pg from "pg";
import { DataSource } from "typeorm";
import type { DatabaseTrouble } from "../base/failure.js";
import type { Config } from "../config/config.js";
import { AccountEntity } from "../entities/account.js";
import { BalanceAlertEntity, BalanceAlertEventEntity, ReaderCursorEntity } from "../entities/alert.js";
import { CurrencyEntity } from "../entities/currency.js";
import { EntryEntity } from "../entities/entry.js";
import { HoldEntity } from "../entities/hold.js";
import { DatedEntryEntity } from "../entities/dated-entry.js";
import { MetadataChangeEntity, TransactionMetadataEntity } from "../entities/metadata.js";
import { IntegrityCheckEntity } from "../entities/integrity-check.js";
import { LimitChangeEntity, VelocityUsageEntity } from "../entities/limits.js";
import { RateEntity } from "../entities/rate.js";
import { InstallationEntity } from "../entities/installation.js";
import { JournalBatchEntity, JournalHeadEntity } from "../entities/journal.js";
import { RequestEntity } from "../entities/request.js";
import { RejectedLegEntity, TransactionEntity } from "../entities/transaction.js";
import { ScheduleEntity, ScheduleRunEntity } from "../entities/schedule.js";
import { UserEntity } from "../entities/user.js";
import { WalletEntity } from "../entities/wallet.js";
import { pollJournalSize, type JournalSize } from "./journal-size.js";
import { assertOwnBackends, openSession, servicePlan } from "./session.js";

export const ENTITIES = [
  InstallationEntity,
  CurrencyEntity,
  UserEntity,
  WalletEntity,
  AccountEntity,
  TransactionEntity,
  RejectedLegEntity,
  RateEntity,
  VelocityUsageEntity,
  LimitChangeEntity,
  EntryEntity,
  DatedEntryEntity,
  TransactionMetadataEntity,
  MetadataChangeEntity,
  HoldEntity,
  RequestEntity,
  JournalHeadEntity,
  JournalBatchEntity,
  ScheduleEntity,
  ScheduleRunEntity,
  BalanceAlertEntity,
  BalanceAlertEventEntity,
  ReaderCursorEntity,
  IntegrityCheckEntity,
];

/** What runs a statement: the pool, or one connection of it inside a transaction. */
export type Queryable = Pick<pg.ClientBase, "query">;

/** The database as the service uses it: TypeORM's data source, and the pg pool beneath it for the ledger's named SQL. */
export interface Database {
  readonly dataSource: DataSource;
  readonly pool: pg.Pool;
  readonly journalSize: JournalSize;
  /** How long a read waits for a record of the journal at the most. */
  readonly readWaitMs: number;
  /** Told what keeps a transaction from being written. */
  onTrouble(this: void, trouble: DatabaseTrouble): void;
  /** Breaks every connection, for when the network has fallen silent: what waits for an answer fails at once. */
  breakConnections(): void;
  /** Closes the connections. Statements that still run, because their calls were answered or given up, are cut off after a while. */
  close(): Promise<void>;
}

/**
 * Connects as the service. Fails when the database cannot be reached, or refuses what a session needs.
 * @param onTrouble told what keeps a transaction from being written
 */
export async function connectDatabase(
  url: string,
  config: Config,
  onTrouble: (trouble: DatabaseTrouble) => void = () => undefined,
): Promise<Database> {
  const plan = servicePlan(config);
  const dataSource = new DataSource({
    type: "postgres",
    url,
    applicationName: "grey",
    entities: ENTITIES,
    synchronize: false,
    installExtensions: false,
    logging: false,
    poolSize: config.GREY_DATABASE_POOL_SIZE,
    connectTimeoutMS: config.GREY_DATABASE_CONNECT_TIMEOUT_MS,
    // A pooled connection that breaks while idle is replaced at the next use; the call that meets it reports it.
    poolErrorHandler: () => undefined,
    extra: {
      types: { getTypeParser: getParser },
      keepAlive: true,
      query_timeout: readTimeoutMs(config),
      onConnect: (client: pg.Client) => openSession(client, plan),
    },
  });
  await dataSource.initialize();
  const { master: pool } = dataSource.driver as unknown as { master: pg.Pool };
  await assertOwnBackends(pool).catch(async (error: unknown) => {
    await dataSource.destroy();
    throw error;
  });
  const clients = new Set<pg.PoolClient>();
  pool.on("acquire", (client) => clients.add(client)).on("remove", (client) => clients.delete(client));
  const breakConnections = (): void => {
    for (const client of clients) breakConnection(client);
  };
  return {
    dataSource,
    pool,
    journalSize: pollJournalSize(pool, config.GREY_JOURNAL_POLL_MS),
    readWaitMs: config.GREY_READ_WAIT_MS,
    onTrouble,
    breakConnections,
    close: async () => {
      const timer = setTimeout(breakConnections, config.GREY_DATABASE_CONNECT_TIMEOUT_MS);
      await dataSource.destroy();
      clearTimeout(timer);
    },
  };
}

/** Breaks a connection as a reset of the network would: nothing is sent, and whoever waits for an answer learns of it. */
export function breakConnection(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection: { stream: Socket } };
  connection.stream.destroy();
}

/** After this an answer is overdue: PostgreSQL gives a statement up earlier. */
export function readTimeoutMs(config: Config): number {
  return config.GREY_DATABASE_STATEMENT_TIMEOUT_MS + 2_000;
}

/** int8 as bigint for this pool only; everything else as the driver does it. */
export function getParser(oid: number, format?: "text" | "binary"): (value: string) => unknown {
  if (oid === pg.types.builtins.INT8 && format !== "binary") return BigInt;
  return pg.types.getTypeParser(oid, format);
}
