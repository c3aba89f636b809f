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

/** A database session: TypeORM's manager, and the connection that it uses. */
export interface Session {
  readonly manager: EntityManager;
  readonly client: PoolClient;
}

const ATTEMPTS_MAX = 5;

/**
 * Runs the work in one READ COMMITTED transaction and commits it. Runs it again when it conflicts with a concurrent one.
 *
 * Fails: DATABASE_UNAVAILABLE when nothing was written; OUTCOME_UNKNOWN when the connection was lost or a warning arrived during
 * the commit, so that the work may or may not be written; OVERLOADED after repeated conflicts
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
 * Runs work that claims a request id, so that a repetition only returns the stored answer. When the outcome of its commit is
 * unknown, runs it again to learn it.
 *
 * Fails: OUTCOME_UNKNOWN when the outcome cannot be learned either
 * @param options.wasTried true if the work was tried before, in another way, with an unknown outcome
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
 * Makes the commit of a read-only transaction wait for the replicas as the commit of a writing one does: the answer that it
 * repeats may come from a commit whose wait was cancelled.
 */
export async function awaitReplicas(client: Queryable): Promise<void> {
  await client.query("SELECT pg_logical_emit_message(true, 'grey', 'replay')");
}

/** Returns the failure that a database error means to the caller; returns other errors unchanged. */
export function translateError(error: unknown): unknown {
  if (isPoolExhausted(error)) return new FailureError({ reason: "OVERLOADED" }, { cause: error });
  return isUnavailable(error) ? toUnavailable(error) : error;
}

/** Returns DATABASE_UNAVAILABLE with what the error says about the database. */
export function toUnavailable(error: unknown): FailureError {
  return new FailureError({ reason: "DATABASE_UNAVAILABLE", cause: classifyTrouble(error) }, { cause: error });
}

/** Runs reads on one connection, each in its own transaction, and translates their errors. */
export function readInSession<T>(
  database: Database,
  context: CallerContext,
  read: (session: Session) => Promise<T>,
): Promise<T> {
  return onConnection(database, context, (runner, client) =>
    unlessSilent(database, read({ manager: runner.manager, client })),
  );
}

/** Runs reads on one snapshot, and translates their errors. */
export function readSnapshot<T>(
  database: Database,
  context: CallerContext,
  read: (session: Session) => Promise<T>,
): Promise<T> {
  return onConnection(database, context, async (runner, client) => {
    await unlessSilent(database, runner.startTransaction("REPEATABLE READ"));
    try {
      return await unlessSilent(database, read({ manager: runner.manager, client }));
    } finally {
      await rollBack(runner);
    }
  });
}

/**
 * Runs the work on a connection whose database has the journal record that the caller requires. Holds no connection while it
 * waits for that record. Fails: JOURNAL_BEHIND
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

/** Runs work that uses its own connections, and translates its errors. */
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
    await unlessSilent(database, runner.startTransaction("READ COMMITTED"));
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

/** Breaks every connection of the pool when an answer is overdue: they share the same network, and other calls must not wait in vain. */
export async function unlessSilent<T>(database: Database, work: Promise<T>): Promise<T> {
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
    // The connection is gone, and the transaction with it. The error that led here has the cause.
  }
}

async function commit(database: Database, runner: QueryRunner, client: PoolClient): Promise<void> {
  let warned = false;
  // A commit that is cancelled while it waits for a replica succeeds with a warning; a failover may lose it.
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
