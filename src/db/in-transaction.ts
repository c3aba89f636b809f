import type { PoolClient } from "pg";
import type { EntityManager, QueryRunner } from "typeorm";
import { fail, FailureError } from "../base/failure.js";
import type { CallerContext } from "../base/caller-context.js";
import type { Database, Queryable } from "./database.js";
import { readJournalSize } from "./journal-size.js";
import {
  isConflict,
  isPoolExhausted,
  isReadTimeout,
  isUnavailable,
  isWarning,
  leavesOutcomeOpen,
  classifyTrouble,
} from "./sqlstate.js";

/** One database transaction: TypeORM's manager and the connection beneath it, which are the same session. */
export interface Session {
  readonly manager: EntityManager;
  readonly client: PoolClient;
}

const ATTEMPTS_MAX = 5;

/**
 * Runs the work in one READ COMMITTED transaction and commits it, again when it lost against a concurrent one.
 *
 * Fails with DATABASE_UNAVAILABLE when nothing was written, and with OUTCOME_UNKNOWN when the connection was lost or a
 * warning came while the commit was under way: then the work may be written or not.
 */
export async function inTransaction<T>(
  database: Database,
  context: CallerContext,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptTransaction(database, context, work);
    } catch (error) {
      if (isUnavailable(error)) database.onTrouble(classifyTrouble(error));
      if (!isConflict(error)) throw translateError(error);
      if (attempt === ATTEMPTS_MAX) throw new FailureError({ reason: "OVERLOADED" });
    }
  }
}

const UNKNOWN_ATTEMPTS_MAX = 3;

/**
 * Runs work that claims a request id, so that running it again does nothing but answer. When the outcome of its commit is
 * unknown it is run again: what it finds then is the truth.
 *
 * Fails with OUTCOME_UNKNOWN when the truth cannot be had either.
 * @param options.wasTried whether the work was tried before, by other means, with an unknown outcome
 */
export async function inClaimingTransaction<T>(
  database: Database,
  context: CallerContext,
  work: (session: Session) => Promise<T>,
  { wasTried = false }: { readonly wasTried?: boolean } = {},
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    const isRepeated = wasTried || attempt > 1;
    try {
      return await inTransaction(database, context, work);
    } catch (error) {
      const reason = error instanceof FailureError ? error.failure.reason : undefined;
      if (reason === "OUTCOME_UNKNOWN" && attempt < UNKNOWN_ATTEMPTS_MAX) continue;
      if (isRepeated && (reason === "DATABASE_UNAVAILABLE" || reason === "CALLER_GONE" || reason === "OVERLOADED")) {
        throw new FailureError({ reason: "OUTCOME_UNKNOWN" }, { cause: error });
      }
      throw error;
    }
  }
}

/**
 * Makes the commit of a transaction that only reads wait for the replicas, as one that writes does: the answer that it
 * repeats may come from a commit whose own wait was cancelled.
 */
export async function awaitReplicas(client: Queryable): Promise<void> {
  await client.query("SELECT pg_logical_emit_message(true, 'grey', 'replay')");
}

/** The failure that a database error means to the caller; other errors stay what they are. */
export function translateError(error: unknown): unknown {
  if (isPoolExhausted(error)) return new FailureError({ reason: "OVERLOADED" }, { cause: error });
  return isUnavailable(error) ? toUnavailable(error) : error;
}

/** The failure that says what keeps the database from its work. */
export function toUnavailable(error: unknown): FailureError {
  return new FailureError({ reason: "DATABASE_UNAVAILABLE", cause: classifyTrouble(error) }, { cause: error });
}

/** Runs reads on one connection, each as a transaction of its own, with their errors translated. */
export function readInSession<T>(
  database: Database,
  context: CallerContext,
  read: (session: Session) => Promise<T>,
): Promise<T> {
  return onConnection(database, context, (runner, client) =>
    unlessSilent(database, read({ manager: runner.manager, client })),
  );
}

/** Runs reads that see one snapshot, on one connection, with their errors translated. */
export function readSnapshot<T>(
  database: Database,
  context: CallerContext,
  read: (session: Session) => Promise<T>,
): Promise<T> {
  return onConnection(database, context, async (runner, client) => {
    await runner.startTransaction("REPEATABLE READ");
    try {
      return await unlessSilent(database, read({ manager: runner.manager, client }));
    } finally {
      await rollBack(runner);
    }
  });
}

/**
 * Does the work on a connection whose database has the record that the caller wants to see. None is held while it is
 * waited for. Fails: JOURNAL_BEHIND.
 */
function onConnection<T>(
  database: Database,
  context: CallerContext,
  work: (runner: QueryRunner, client: PoolClient) => Promise<T>,
): Promise<T> {
  return withTranslatedErrors(async () => {
    const { minJournalIndex: index, withoutSlot } = context;
    for (;;) {
      const runner = database.dataSource.createQueryRunner();
      try {
        const client = (await runner.connect()) as PoolClient;
        // The wait for a connection may have outlasted the caller.
        context.assertWaiting();
        const isRecent = index === undefined || (await unlessSilent(database, readJournalSize(client))) > index;
        if (isRecent) return await work(runner, client);
      } finally {
        await runner.release();
      }
      const reached = untilJournalHas(database, context, index);
      await (withoutSlot?.(reached) ?? reached);
    }
  });
}

async function untilJournalHas(database: Database, context: CallerContext, index: bigint): Promise<void> {
  const giveUpAt = Date.now() + database.readWaitMs;
  for (;;) {
    const size = await database.journalSize.next();
    if (size > index) return;
    context.assertWaiting();
    if (Date.now() >= giveUpAt) {
      fail({ reason: "JOURNAL_BEHIND", minJournalIndex: index.toString(), journalSize: size.toString() });
    }
  }
}

/** Does what takes its own connection, with its errors translated. */
export async function withTranslatedErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translateError(error);
  }
}

async function attemptTransaction<T>(
  database: Database,
  context: CallerContext,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const runner = database.dataSource.createQueryRunner();
  try {
    const client = (await runner.connect()) as PoolClient;
    // The wait for a connection may have outlasted the caller.
    context.assertWaiting();
    await runner.startTransaction("READ COMMITTED");
    let result: T;
    try {
      result = await unlessSilent(database, work({ manager: runner.manager, client }));
    } catch (error) {
      await rollBack(runner);
      throw error;
    }
    await commit(database, runner, client);
    return result;
  } finally {
    await runner.release();
  }
}

/** When an answer is overdue, breaks it and every other connection: they went the same way, and nobody else is to wait. */
async function unlessSilent<T>(database: Database, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isReadTimeout(error)) database.breakConnections();
    throw error;
  }
}

async function rollBack(runner: QueryRunner): Promise<void> {
  try {
    await runner.rollbackTransaction();
  } catch {
    // The connection is gone, and with it the transaction. The error that led here says why.
  }
}

async function commit(database: Database, runner: QueryRunner, client: PoolClient): Promise<void> {
  let warned = false;
  // A commit that is cancelled while it waits for a replica succeeds with a warning: it may be lost in a failover.
  const onNotice = (notice: { code?: string | undefined }) => {
    if (isWarning(notice)) warned = true;
  };
  client.on("notice", onNotice);
  try {
    await unlessSilent(database, runner.commitTransaction());
  } catch (error) {
    throw leavesOutcomeOpen(error) ? new FailureError({ reason: "OUTCOME_UNKNOWN" }, { cause: error }) : error;
  } finally {
    client.off("notice", onNotice);
  }
  if (warned) fail({ reason: "OUTCOME_UNKNOWN" });
}
