import { setImmediate as nextTurn } from "node:timers/promises";
import { assertPresent } from "../../base/assert.js";
import { NO_CALLER, type CallerContext } from "../../base/caller-context.js";
import { FailureError } from "../../base/failure.js";
import type { Micros } from "../../base/time.js";
import type { Config } from "../../config/config.js";
import type { Database } from "../../db/database.js";
import { inClaimingTransaction, readInSession, translateError, unlessSilent } from "../../db/in-transaction.js";
import { isConflict, leavesOutcomeOpen, SQLSTATE, sqlState } from "../../db/sqlstate.js";
import { readHead } from "../../journal/head.js";
import { createPostingMetrics } from "../../telemetry/posting-metrics.js";
import type { Account } from "../account/account.js";
import { readAccounts } from "../account/store.js";
import type { UnitOfWork } from "../command/command.js";
import type { Hold, ReadHold } from "../decide/hold.js";
import { decideUnit } from "../decide/unit.js";
import { readHolds } from "../hold/store.js";
import { openBatch } from "./batch.js";
import type { PostingConnection } from "./connection.js";
import { follow } from "./follow.js";
import { createMemory, type Memory } from "./memory.js";
import { NO_REPLAYS, replay, type FindDifferences, type Outcome } from "./outcome.js";
import { countCommands, createQueue, listKeys, selectSpecial, type QueuedUnit } from "./queue.js";
import {
  collectAccountIds,
  collectDecided,
  collectHoldIds,
  needsClock,
  needsTurn,
  recall,
  takeTurn,
  toOutcomes,
  toRecorded,
} from "./turn.js";
import { writeBatch } from "./write.js";

/**
 * Posts the units of work of many callers in shared database transactions (group commit).
 *
 * Units that arrive while a batch is being written form the next one; an idle engine posts a lone command at once. At most two
 * batches are in flight. Units are decided in the order in which they were handed in. A batch is written in one of two ways:
 *
 * - from memory: decided from what this process remembers, and written in one round trip that checks that the ledger still has
 *   the revision that is remembered. A batch that loses follows the journal, and is decided again;
 * - in a turn: with the journal's head locked and the request ids looked up. A batch that loses twice, meets a used request id or
 *   a broken connection takes its turn, and for a while so do those after it.
 *
 * No caller is answered before the outcome is known.
 */
export interface Engine {
  /**
   * Posts a unit of work, and returns an outcome for each of its commands. Their request ids must differ from each other.
   * Fails: OVERLOADED when the queue is full, CALLER_GONE when the caller left before the unit was taken from the queue,
   * DATABASE_UNAVAILABLE, OUTCOME_UNKNOWN.
   */
  post(unit: UnitOfWork, context: CallerContext): Promise<Outcome[]>;
  /** The number of commands in the queue. */
  readonly depth: number;
}

/** The engine of this process. */
export interface OwnEngine extends Engine {
  /** Settles once all units that it was given are answered, and no others came meanwhile. */
  whenIdle(): Promise<void>;
}

const BATCHES_IN_FLIGHT_MAX = 2;
/** The most turns after a batch that lost twice before another is written from memory. */
const PENALTY_MAX = 256;

export function createEngine(
  database: Database,
  connection: PostingConnection,
  config: Config,
  findDifferences: FindDifferences,
  memory: Memory = createMemory(config),
): OwnEngine {
  const { clock } = memory;
  const queue = createQueue(config);
  let inFlight = 0;
  let commandsInFlight = 0;
  /** The number of batches that are, or are about to be, posted alone. */
  let alone = 0;
  let isPumpPlanned = false;
  let penalty = 1;
  let turnsLeft = 0;
  /** Settles when every batch so far is decided. */
  let lastDecided: Promise<unknown> = Promise.resolve();
  /** Settles when every batch so far is answered. */
  let lastSettled: Promise<unknown> = Promise.resolve();
  const metrics = createPostingMetrics(() => queue.depth);

  async function post(unit: UnitOfWork, context: CallerContext): Promise<Outcome[]> {
    const keys = listKeys(unit);
    const earlier = queue.findEarlier(keys);
    if (earlier.length > 0) return postCopy(unit, context, keys, earlier);
    const { done } = queue.add(unit, keys, context);
    planPump();
    return done;
  }

  /** Answers a copy of a request in flight by that one's outcome, without a query. */
  async function postCopy(
    unit: UnitOfWork,
    context: CallerContext,
    keys: readonly string[],
    earlier: readonly QueuedUnit[],
  ): Promise<Outcome[]> {
    await Promise.allSettled(earlier.map((queued) => queued.done));
    const [key] = keys;
    const [first] = earlier;
    if (keys.length > 1 || key === undefined || first === undefined) return post(unit, context);
    const outcomes = await first.done.catch(() => []);
    const outcome = outcomes[first.keys.indexOf(key)];
    if (outcome === undefined || !("transaction" in outcome)) return post(unit, context);
    return [replay(assertPresent(unit.commands[0], "a command"), outcome.transaction, findDifferences)];
  }

  /** Runs after this turn of the event loop: calls that arrive together are posted together. */
  function planPump(): void {
    if (isPumpPlanned) return;
    isPumpPlanned = true;
    setImmediate(() => {
      isPumpPlanned = false;
      pump();
    });
  }

  function pump(): void {
    const hasRoom = (): boolean => !queue.isEmpty && inFlight < BATCHES_IN_FLIGHT_MAX && alone === 0;
    while (hasRoom()) {
      const isTurn = turnsLeft > 0;
      // A turn is alone, so that units are decided in their order.
      if (isTurn && inFlight > 0) return;
      // About half of all that is queued and in flight, so that one batch fills while another is written.
      const wanted = Math.min(
        Math.max(1, Math.ceil((queue.depth + commandsInFlight) / 2)),
        config.GREY_POSTING_BATCH_MAX,
      );
      const group = queue.take(wanted);
      if (group.length === 0) continue;
      start(group, isTurn);
    }
  }

  function start(group: readonly QueuedUnit[], isTurn: boolean): void {
    const size = countCommands(group);
    inFlight += 1;
    commandsInFlight += size;
    const before = lastSettled;
    if (isTurn) turnsLeft -= 1;
    const settled = (isTurn ? whenAlone(before, () => postInTurn(group, false)) : postFromMemory(group, before))
      // An unforeseen fault fails this group, and none of those after it.
      .catch((error: unknown) => rejectAll(group, error))
      .finally(() => {
        inFlight -= 1;
        commandsInFlight -= size;
        // The callers of a finished batch send their next requests within this turn of the event loop.
        planPump();
      });
    // Without its value, which would keep all batches before it in memory.
    lastSettled = Promise.all([before, settled]).then(() => undefined);
  }

  async function postFromMemory(group: readonly QueuedUnit[], before: Promise<unknown>): Promise<void> {
    const special = selectSpecial(group);
    const started = performance.now();
    try {
      const deciding = lastDecided.then(() => decideAndSend(group, special));
      lastDecided = deciding.catch(() => undefined);
      await finish(group, await deciding, started);
      penalty = Math.max(1, penalty / 2);
    } catch (error) {
      noteFailure(group, error);
      await whenAlone(before, () => postAgain(group, special, error));
    }
  }

  /** Waits until the units before are answered, since these may build on them, and keeps those after from being decided. */
  async function whenAlone(before: Promise<unknown>, work: () => Promise<void>): Promise<void> {
    alone += 1;
    try {
      await before;
      await work();
    } finally {
      alone -= 1;
    }
  }

  /** Posts a batch that was not written from memory: once more so, if only the ledger had changed, and otherwise in a turn. */
  async function postAgain(
    group: readonly QueuedUnit[],
    special: readonly UnitOfWork[],
    error: unknown,
  ): Promise<void> {
    const started = performance.now();
    if (!(error instanceof StaleError ? error.isCurable : sqlState(error) === SQLSTATE.SERIALIZATION_FAILURE))
      return postInTurn(group, isUnknown(error));
    try {
      // Batches that were sent after it built on it, and fail as it did.
      memory.drop();
      await readInSession(database, NO_CALLER, async ({ client }) => follow(client, memory, await readHead(client)));
      await finish(group, await decideAndSend(group, special, true), started);
    } catch (again) {
      noteFailure(group, again);
      if (sqlState(again) === SQLSTATE.SERIALIZATION_FAILURE) {
        turnsLeft = penalty;
        penalty = Math.min(penalty * 2, PENALTY_MAX);
      }
      // When the posting connection cannot be opened, nothing was sent: the connections of turns may still serve.
      await postInTurn(group, isUnknown(again));
    }
  }

  /** Forgets what a failed batch may have been wrong about. */
  function noteFailure(group: readonly QueuedUnit[], error: unknown): void {
    memory.holds.forget(collectHoldIds(group.map(({ unit }) => unit)));
    if (isConflict(error)) metrics.conflict();
    if (sqlState(error) !== SQLSTATE.UNIQUE_VIOLATION) return;
    // Another writer's entry without a revision of its own, as by hand: nothing that is remembered counts.
    if (!isConflict(error)) memory.clear();
    // Retries come together: the next batch is likely to hold another one.
    turnsLeft = Math.max(turnsLeft, 1);
  }

  /**
   * Decides from memory and sends the batch; the batches after it build on its decisions at once.
   * @param special the units that hold more than movements
   */
  async function decideAndSend(group: readonly QueuedUnit[], special: readonly UnitOfWork[], isAlone = false) {
    if (special.some(needsTurn)) throw new StaleError(false);
    const { revision } = memory;
    const units = group.map((queued) => queued.unit);
    const holds = await recallHolds(special);
    const holdsById = new Map(holds.map(({ hold }) => [hold.id, hold]));
    const ids = collectAccountIds(units, holdsById);
    let { known, missing } = recall(memory.getAccount, ids);
    let read = NO_ACCOUNTS;
    if (missing.length > 0) {
      read = await unlessSilent(database, readAccounts(database.pool, missing)).catch(rethrowTranslated);
      // A batch before this one may have been settled meanwhile.
      for (const id of missing) ids.delete(id);
      ({ known, missing } = recall(memory.getAccount, ids));
    }
    // A batch before this one is about to be decided again, or was meanwhile: what was read may lack its effects.
    if (revision === undefined || (alone > 0 && !isAlone) || memory.revision !== revision) throw new StaleError(true);
    if (missing.length > 0) throw new StaleError(false);
    memory.keep(read);
    const accounts = read.length === 0 ? known : [...known, ...read];
    const now = needsClock(special, accounts) ? clock.now() : 0n;
    if (
      now === undefined ||
      holds.some(({ hold }) => isUncertain(hold, now)) ||
      special.some((unit) => isEnding(unit, now))
    )
      throw new StaleError(false);
    const batch = openBatch(revision, accounts, holds, now);
    const verdicts = units.map((unit) => decideUnit(batch, unit, NO_REPLAYS));
    // A batch without anything to write is answered once all before it are.
    const decided = collectDecided(verdicts);
    if (decided.length === 0) throw new StaleError(false);
    const writing = writeBatch(connection, batch, decided);
    writing.catch(() => undefined);
    return { verdicts, decided, writing, settle: memory.send(batch) };
  }

  /** Answers the callers of a batch once it is written. */
  async function finish(
    group: readonly QueuedUnit[],
    { verdicts, decided, writing, settle }: Awaited<ReturnType<typeof decideAndSend>>,
    started: number,
  ): Promise<void> {
    const place = await writing;
    settle(toRecorded(decided, place));
    answer(group, toOutcomes(verdicts, decided, place));
    report("memory", group, started);
  }

  /** Returns the existing holds that the units name, from memory or read. */
  async function recallHolds(units: readonly UnitOfWork[]): Promise<ReadHold[]> {
    const { known, missing } = recall(memory.holds.get, collectHoldIds(units));
    return missing.length === 0
      ? known
      : [...known, ...(await unlessSilent(database, readHolds(database.pool, missing)).catch(rethrowTranslated))];
  }

  /** @param wasTried whether an attempt before this one may have been committed */
  async function postInTurn(group: readonly QueuedUnit[], wasTried: boolean): Promise<void> {
    const started = performance.now();
    const units = group.map((queued) => queued.unit);
    try {
      const { outcomes, written } = await inClaimingTransaction(
        database,
        // Units in flight are carried through, whether their callers wait or not.
        NO_CALLER,
        ({ client }) => takeTurn(client, units, { findDifferences }, memory),
        { wasTried },
      );
      if (written !== undefined) memory.send(written.batch)(written.recorded);
      answer(group, outcomes);
      report("turn", group, started);
    } catch (error) {
      // A fault that one unit causes must not fail its neighbours.
      if (group.length > 1 && !isTransient(error)) {
        for (const queued of group) await postInTurn([queued], wasTried);
      } else {
        rejectAll(group, error);
      }
    } finally {
      memory.drop();
      memory.holds.forget(collectHoldIds(units));
    }
  }

  function answer(group: readonly QueuedUnit[], outcomes: readonly Outcome[][]): void {
    group.forEach((queued, index) => {
      const ofUnit = assertPresent(outcomes[index], "the outcomes of a unit");
      for (const outcome of ofUnit) countRejection(outcome);
      queue.resolve(queued, ofUnit);
    });
  }

  function rejectAll(group: readonly QueuedUnit[], error: unknown): void {
    for (const queued of group) queue.reject(queued, error);
  }

  function countRejection(outcome: Outcome): void {
    if ("transaction" in outcome && outcome.transaction.failure !== null && !outcome.replayed) {
      metrics.rejection(outcome.transaction.failure.reason);
    }
  }

  function report(way: "memory" | "turn", group: readonly QueuedUnit[], started: number): void {
    const oldest = assertPresent(group[0], "a unit").since;
    metrics.batch(way, countCommands(group), started - oldest, performance.now() - started);
  }

  async function whenIdle(): Promise<void> {
    // A batch that ends takes the next one in the same turn of the event loop.
    while (!queue.isEmpty || inFlight > 0 || isPumpPlanned) {
      await lastSettled;
      await nextTurn();
    }
  }

  return {
    post,
    get depth() {
      return queue.depth;
    },
    whenIdle,
  };
}

const NO_ACCOUNTS: readonly Account[] = [];

function rethrowTranslated(error: unknown): never {
  throw translateError(error);
}

/** The error of the remembered clock that is allowed for: a second. */
const NEAR_MICROS = 1_000_000n;

/** Reports whether only the database's clock can decide the hold: near its expiry, and before its times are known. */
function isUncertain({ expireTime, createTime }: Hold, now: Micros): boolean {
  return expireTime === null || createTime === null || expireTime <= now + NEAR_MICROS;
}

/** Reports whether only the database's clock can decide the unit: near the end of a quote. */
function isEnding({ commands }: UnitOfWork, now: Micros): boolean {
  return commands.some(
    (command) =>
      command.kind === "EXCHANGE" &&
      command.validUntil !== null &&
      command.validUntil <= now + NEAR_MICROS &&
      command.validUntil > now - NEAR_MICROS,
  );
}

/** The batch was not sent. */
class StaleError extends Error {
  override readonly name = "StaleError";
  /** @param isCurable true if following the journal may help; false if only a turn does */
  constructor(readonly isCurable: boolean) {
    super();
  }
}

/** Reports whether the batch may have been committed. */
function isUnknown(error: unknown): boolean {
  if (error instanceof StaleError) return false;
  if (error instanceof FailureError) return error.failure.reason === "OUTCOME_UNKNOWN";
  return leavesOutcomeOpen(error);
}

/** Reports whether the error is of the database or the network, so that posting one by one would meet it again. */
function isTransient(error: unknown): boolean {
  return error instanceof FailureError && error.failure.reason !== "OVERLOADED";
}
