import type { Socket } from "node:net";
import pg from "pg";
import { DataSource } from "typeorm";
import type { DatabaseTrouble } from "../base/failure.js";
import type { Config } from "../config/config.js";
import { AccountEntity, AccountStateEntity } from "../entities/account.js";
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
import { PostingLeaseEntity } from "../entities/posting-lease.js";
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
  AccountStateEntity,
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
  PostingLeaseEntity,
];

/** The pool, or one of its connections inside a transaction: runs statements. */
export type Queryable = Pick<pg.ClientBase, "query">;

/** The database: TypeORM's data source, and the pg pool beneath it for the ledger's named SQL. */
export interface Database {
  readonly dataSource: DataSource;
  readonly pool: pg.Pool;
  readonly journalSize: JournalSize;
  /** The longest time that a read waits for a journal record. */
  readonly readWaitMs: number;
  /** Called with what keeps a transaction from being written. */
  onTrouble(this: void, trouble: DatabaseTrouble): void;
  /** Breaks every connection when the network has fallen silent: statements that wait for an answer fail at once. */
  breakConnections(): void;
  /** Closes the connections. Statements that still run, because their calls were answered or given up, are cut off after a while. */
  close(): Promise<void>;
}

/**
 * Connects as the service. Fails when the database cannot be reached, or refuses what a session needs.
 * @param onTrouble called with what keeps a transaction from being written
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
    // An idle connection that breaks is replaced at its next use; a call that is affected reports it.
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

/** Breaks a connection as a network reset would: nothing is sent, and a statement that waits for an answer fails. */
export function breakConnection(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection: { stream: Socket } };
  connection.stream.destroy();
}

/** Returns the time after which an answer is overdue; PostgreSQL cancels a statement earlier. */
export function readTimeoutMs(config: Config): number {
  return config.GREY_DATABASE_STATEMENT_TIMEOUT_MS + 2_000;
}

/** Returns the parser of a type: int8 becomes bigint, for this pool only; all else is as in the driver. */
export function getParser(oid: number, format?: "text" | "binary"): (value: string) => unknown {
  if (oid === pg.types.builtins.INT8 && format !== "binary") return BigInt;
  return pg.types.getTypeParser(oid, format);
}
