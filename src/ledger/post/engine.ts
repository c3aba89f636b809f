import { assertPresent } from "../../base/assert.js";
import { NO_CALLER, type CallerContext } from "../../base/caller-context.js";
import { FailureError } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { Config } from "../../config/config.js";
import type { Database } from "../../db/database.js";
import { inClaimingTransaction, translateError } from "../../db/in-transaction.js";
import { isConflict, leavesOutcomeOpen, SQLSTATE, sqlState } from "../../db/sqlstate.js";
import { createPostingMetrics } from "../../telemetry/posting-metrics.js";
import type { ReadAccount } from "../account/account.js";
import { readAccounts } from "../account/store.js";
import { isMovement, requestKey, type Command, type UnitOfWork } from "../command/command.js";
import type { Hold, ReadHold } from "../decide/hold.js";
import { decideUnit } from "../decide/unit.js";
import { readHolds } from "../hold/store.js";
import { listAccounts } from "../transaction/transaction.js";
import { openBatch } from "./batch.js";
import type { Cache } from "./cache.js";
import type { PostingConnection } from "./connection.js";
import { createMemory, type Memory } from "./memory.js";
import { NO_REPLAYS, replay, type FindDifferences, type Outcome } from "./outcome.js";
import {
  collectAccountIds,
  collectDecided,
  collectHoldIds,
  needsClock,
  needsLocks,
  postUnits,
  toOutcomes,
} from "./post-units.js";
import { writeBatch } from "./write.js";

/**
 * Posts the units of work of many callers in shared database transactions (group commit).
 *
 * Units that arrive while a batch is being written form the next one; an idle engine posts a lone command at once. At most two
 * batches are in flight. Units are decided in the order in which they were handed in. A batch takes one of two paths:
 *
 * - optimistic: decided from accounts that this process remembers, and written in one round trip that checks that the
 *   accounts have not changed since;
 * - locked: with the accounts locked and the request ids looked up. A batch that meets a conflict, a used request id or a
 *   broken connection takes this path, and for a while those after it.
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

const BATCHES_IN_FLIGHT_MAX = 2;
/** The most locked batches after a conflict before the optimistic way is tried again. */
const PENALTY_MAX = 256;

/** The resources that a unit takes. */
interface Size {
  /** The number of commands, of which one with many legs counts as many. */
  readonly weight: number;
  readonly bytes: number;
  /** True for a unit of movements only, as most are: it skips the checks of other kinds. */
  readonly isPlain: boolean;
}

interface QueuedUnit {
  readonly unit: UnitOfWork;
  /** The requestKey() of each of its commands. */
  readonly keys: readonly string[];
  readonly context: CallerContext;
  readonly size: Size;
  readonly since: number;
  readonly done: Promise<Outcome[]>;
  readonly resolve: (outcomes: Outcome[]) => void;
  readonly reject: (error: unknown) => void;
}

export function createEngine(
  database: Database,
  connection: PostingConnection,
  config: Config,
  findDifferences: FindDifferences,
  memory: Memory = createMemory(config),
): Engine {
  const { clock } = memory;
  /** The units in the queue or in flight, by requestKey(). */
  const pending = new Map<string, QueuedUnit>();
  let queue: QueuedUnit[] = [];
  let depth = 0;
  let bytes = 0;
  let inFlight = 0;
  let commandsInFlight = 0;
  /** The number of batches that take, or are about to take, the locked path. */
  let locked = 0;
  let isPumpPlanned = false;
  let penalty = 1;
  let lockedLeft = 0;
  /** Settles when every batch so far is decided. */
  let lastDecided: Promise<unknown> = Promise.resolve();
  /** Settles when every batch so far is answered. */
  let lastSettled: Promise<unknown> = Promise.resolve();
  const metrics = createPostingMetrics(() => depth);

  async function post(unit: UnitOfWork, context: CallerContext): Promise<Outcome[]> {
    const keys = unit.commands.map(requestKey);
    const earlier = findEarlier(keys);
    return earlier.length === 0 ? enqueue(unit, context, keys) : postCopy(unit, context, keys, earlier);
  }

  function findEarlier(keys: readonly string[]): QueuedUnit[] {
    const earlier: QueuedUnit[] = [];
    for (const key of keys) {
      const queued = pending.get(key);
      if (queued !== undefined) earlier.push(queued);
    }
    return earlier;
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

  function enqueue(unit: UnitOfWork, context: CallerContext, keys: readonly string[]): Promise<Outcome[]> {
    const size = measure(unit);
    const isFull =
      depth + unit.commands.length > config.GREY_POSTING_QUEUE_MAX ||
      bytes + size.bytes > config.GREY_POSTING_QUEUE_BYTES_MAX;
    // An empty queue takes any unit: for one that is larger than the queue, no other moment would be better.
    if (isFull && queue.length > 0) throw new FailureError({ reason: "OVERLOADED" });
    depth += unit.commands.length;
    bytes += size.bytes;
    const { promise: done, resolve, reject } = createPromise<Outcome[]>();
    const queued = { unit, keys, context, size, since: performance.now(), done, resolve, reject };
    for (const key of keys) pending.set(key, queued);
    queue.push(queued);
    planPump();
    return done;
  }

  function unlist({ keys }: QueuedUnit): void {
    for (const key of keys) pending.delete(key);
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
    const hasRoom = (): boolean => queue.length > 0 && inFlight < BATCHES_IN_FLIGHT_MAX && locked === 0;
    while (hasRoom()) {
      const isLocked = lockedLeft > 0;
      // A locked batch is alone, so that units are decided in their order.
      if (isLocked && inFlight > 0) return;
      const group = take();
      if (group.length === 0) continue;
      start(group, isLocked);
    }
  }

  /** Takes about half of all that is queued and in flight, so that one batch fills while another is written. */
  function take(): QueuedUnit[] {
    const wanted = Math.min(Math.max(1, Math.ceil((depth + commandsInFlight) / 2)), config.GREY_POSTING_BATCH_MAX);
    const group: QueuedUnit[] = [];
    let size = 0;
    let taken = 0;
    for (const queued of queue) {
      if (size > 0 && size + queued.size.weight > wanted) break;
      taken += 1;
      depth -= queued.unit.commands.length;
      bytes -= queued.size.bytes;
      if (!keepIfWaiting(queued)) continue;
      group.push(queued);
      size += queued.size.weight;
    }
    queue = queue.slice(taken);
    return group;
  }

  function start(group: readonly QueuedUnit[], isLocked: boolean): void {
    const size = countCommands(group);
    inFlight += 1;
    commandsInFlight += size;
    const before = lastSettled;
    if (isLocked) lockedLeft -= 1;
    const settled = (isLocked ? takeLockedPath(group, before, false) : postOptimistic(group, before))
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

  async function postOptimistic(group: readonly QueuedUnit[], before: Promise<unknown>): Promise<void> {
    const units = group.map((queued) => queued.unit);
    const started = performance.now();
    try {
      const deciding = lastDecided.then(() => decideOptimistic(units, selectSpecial(group)));
      lastDecided = deciding.catch(() => undefined);
      const { verdicts, decided, writing, settle } = await deciding;
      const recorded = await writing;
      settle(recorded.createTime);
      answer(group, toOutcomes(verdicts, decided, recorded));
      penalty = Math.max(1, penalty / 2);
      report("optimistic", group, started);
    } catch (error) {
      forget(units);
      if (isConflict(error)) metrics.conflict();
      if (sqlState(error) === SQLSTATE.SERIALIZATION_FAILURE) {
        lockedLeft = penalty;
        penalty = Math.min(penalty * 2, PENALTY_MAX);
      } else if (sqlState(error) === SQLSTATE.UNIQUE_VIOLATION) {
        // Retries come together: the next batch is likely to hold another one.
        lockedLeft = Math.max(lockedLeft, 1);
      }
      // When the posting connection cannot be opened, nothing was sent: the connections of the locked path may still serve.
      await takeLockedPath(group, before, isUnknown(error));
    }
  }

  /** Waits until the units before it are answered: these may build on them. */
  async function takeLockedPath(
    group: readonly QueuedUnit[],
    before: Promise<unknown>,
    wasTried: boolean,
  ): Promise<void> {
    locked += 1;
    try {
      await before;
      await postLocked(group, wasTried);
    } finally {
      locked -= 1;
    }
  }

  /**
   * Decides from memory and sends the batch; the batches after it build on its decisions at once.
   * @param special the units that hold more than movements
   */
  async function decideOptimistic(units: readonly UnitOfWork[], special: readonly UnitOfWork[]) {
    if (special.some(needsLocks)) throw new StaleError();
    const holds = await recallHolds(special);
    const known = await recall(units, holds);
    // A batch before this one is about to be decided again: the memory may lack its effects.
    if (locked > 0) throw new StaleError();
    const now = needsClock(special, known) ? clock.now() : 0n;
    if (
      now === undefined ||
      holds.some(({ hold }) => isUncertain(hold, now)) ||
      special.some((unit) => isEnding(unit, now))
    )
      throw new StaleError();
    const batch = openBatch(known, holds, now);
    const verdicts = units.map((unit) => decideUnit(batch, unit, NO_REPLAYS));
    // A batch without anything to write is answered once all before it are.
    const decided = collectDecided(verdicts);
    if (decided.length === 0) throw new StaleError();
    const writing = writeBatch(connection, batch, decided);
    writing.catch(() => undefined);
    return { verdicts, decided, writing, settle: memory.remember(batch) };
  }

  /**
   * Returns the existing accounts that the units name, from memory or read. The batch keeps them itself, because the cache may
   * forget one while another is read.
   */
  async function recall(units: readonly UnitOfWork[], holds: readonly ReadHold[]): Promise<ReadAccount[]> {
    const holdsById = new Map(holds.map(({ hold }) => [hold.id, hold]));
    return recallOrRead(memory.accounts, collectAccountIds(units, holdsById), (ids) =>
      readAccounts(database.pool, ids),
    );
  }

  /** Returns the existing holds that the units name, from memory or read. */
  async function recallHolds(units: readonly UnitOfWork[]): Promise<ReadHold[]> {
    return recallOrRead(memory.holds, collectHoldIds(units), (ids) => readHolds(database.pool, ids));
  }

  function forget(units: readonly UnitOfWork[]): void {
    const holdIds = collectHoldIds(units);
    memory.accounts.forget(collectAccountIds(units, { get: (id): Hold | undefined => memory.holds.get(id)?.hold }));
    memory.holds.forget(holdIds);
  }

  /** @param wasTried whether an attempt before this one may have been committed */
  async function postLocked(group: readonly QueuedUnit[], wasTried: boolean): Promise<void> {
    const started = performance.now();
    const units = group.map((queued) => queued.unit);
    try {
      const outcomes = await inClaimingTransaction(
        database,
        // Units in flight are carried through, whether their callers wait or not.
        NO_CALLER,
        ({ client }) => postUnits(client, units, { findDifferences }),
        {
          wasTried,
        },
      );
      // With the accounts that the commands do not name themselves.
      memory.accounts.forget(
        outcomes.flat().flatMap((one) => ("transaction" in one ? listAccounts(one.transaction) : [])),
      );
      const recorded = findRecordTime(outcomes);
      if (recorded !== undefined) clock.set(recorded);
      answer(group, outcomes);
      report("locked", group, started);
    } catch (error) {
      // A fault that one unit causes must not fail its neighbours.
      if (group.length > 1 && !isTransient(error)) {
        for (const queued of group) await postLocked([queued], wasTried);
      } else {
        rejectAll(group, error);
      }
    } finally {
      forget(units);
    }
  }

  function answer(group: readonly QueuedUnit[], outcomes: readonly Outcome[][]): void {
    group.forEach((queued, index) => {
      const ofUnit = assertPresent(outcomes[index], "the outcomes of a unit");
      for (const outcome of ofUnit) countRejection(outcome);
      unlist(queued);
      queued.resolve(ofUnit);
    });
  }

  function reject(queued: QueuedUnit, error: unknown): void {
    unlist(queued);
    queued.reject(error);
  }

  function rejectAll(group: readonly QueuedUnit[], error: unknown): void {
    for (const queued of group) reject(queued, error);
  }

  /** Drops a unit whose caller has left. */
  function keepIfWaiting(queued: QueuedUnit): boolean {
    try {
      queued.context.assertWaiting();
      return true;
    } catch (error) {
      reject(queued, error);
      return false;
    }
  }

  function countRejection(outcome: Outcome): void {
    if ("transaction" in outcome && outcome.transaction.failure !== null && !outcome.replayed) {
      metrics.rejection(outcome.transaction.failure.reason);
    }
  }

  function report(shape: "optimistic" | "locked", group: readonly QueuedUnit[], started: number): void {
    const oldest = assertPresent(group[0], "a unit").since;
    metrics.batch(shape, countCommands(group), started - oldest, performance.now() - started);
  }

  return {
    post,
    get depth() {
      return depth;
    },
  };
}

/** Returns the remembered values, and those that are read. */
async function recallOrRead<T>(
  { get }: Cache<T>,
  ids: Iterable<Uuid>,
  read: (missing: readonly Uuid[]) => Promise<T[]>,
): Promise<T[]> {
  const known: T[] = [];
  const missing: Uuid[] = [];
  for (const id of ids) {
    const one = get(id);
    if (one === undefined) missing.push(id);
    else known.push(one);
  }
  if (missing.length === 0) return known;
  try {
    return [...known, ...(await read(missing))];
  } catch (error) {
    throw translateError(error);
  }
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

/** Returns the time of the record of what is new among the outcomes; undefined when nothing is. */
function findRecordTime(outcomes: readonly Outcome[][]): Micros | undefined {
  for (const outcome of outcomes.flat())
    if ("transaction" in outcome && !outcome.replayed) return outcome.transaction.createTime;
  return undefined;
}

/** The batch was not sent, because it has to take the locked path. */
class StaleError extends Error {
  override readonly name = "StaleError";
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

function createPromise<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  return { promise, resolve, reject };
}

function countCommands(group: readonly QueuedUnit[]): number {
  return group.reduce((sum, { unit }) => sum + unit.commands.length, 0);
}

/** Measures a unit: two legs weigh as much as a movement, and the bytes are about its memory in the queue. */
function measure({ commands }: UnitOfWork): Size {
  let weight = commands.length;
  let bytes = COMMAND_BYTES * commands.length;
  let isPlain = true;
  for (const command of commands) {
    const { description, metadata } = command.data;
    bytes += 2 * description.length;
    for (const key in metadata) bytes += 2 * (key.length + (metadata[key]?.length ?? 0)) + 64;
    if (isMovement(command)) continue;
    isPlain = false;
    const legs = countLegs(command);
    weight += Math.ceil(legs / 2);
    bytes += LEG_BYTES * legs;
  }
  return { weight, bytes, isPlain };
}

function countLegs(command: Command): number {
  if (command.kind === "COMPOUND") return command.legs.length;
  return command.kind === "EXCHANGE" ? EXCHANGE_LEGS : 0;
}

const EXCHANGE_LEGS = 4;

/** Selects the units that hold more than movements. */
function selectSpecial(group: readonly QueuedUnit[]): UnitOfWork[] {
  return group.filter(({ size }) => !size.isPlain).map(({ unit }) => unit);
}

const COMMAND_BYTES = 600;
const LEG_BYTES = 300;
