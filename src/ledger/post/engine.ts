import { present } from "../../base/assert.js";
import { FailureError } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Patience } from "../../base/patience.js";
import type { Config } from "../../config/config.js";
import type { Database } from "../../db/database.js";
import { isConflict, leavesOutcomeOpen, SQLSTATE, sqlState } from "../../db/sqlstate.js";
import { inClaimingTransaction, translate } from "../../db/transaction.js";
import { createPostingMetrics } from "../../telemetry/posting-metrics.js";
import type { Micros } from "../../base/time.js";
import { openBatch, writeBatch } from "./batch.js";
import { readBooks, type ReadBook } from "../account/books.js";
import type { Cache } from "./cache.js";
import { readHolds } from "../hold/rows.js";
import type { Hold, ReadHold } from "../decide/hold.js";
import { createMemory, type Memory } from "./memory.js";
import { requestKey } from "../transaction/rows.js";
import type { PostingConnection } from "./connection.js";
import {
  accountIdsOf,
  decidedOf,
  decideWorks,
  holdIdsOf,
  needsClock,
  needsLocks,
  outcomesOf,
  postWorks,
} from "./posting.js";
import { accountsTouchedBy, isCompound, isMovement } from "../transaction/transaction.js";
import { replay, type Outcome, type Work } from "../command/work.js";

/**
 * Posts what many callers ask for, in shared database transactions (group commit).
 *
 * What arrives while a batch is being written forms the next one; an idle engine posts a lone command at once. Two
 * batches are under way at the most. Works are decided in the order in which they were handed in. A batch goes one of
 * two ways:
 *
 * - optimistic: decided from books that this process remembers, and written in one round trip that checks that the
 *   books have not changed since;
 * - locked: with the accounts locked, looking up the request ids. It is the way of every batch that met a conflict, a
 *   used request id or a broken connection, and for a while of those after it.
 *
 * Nobody is answered before the outcome is known.
 */
export interface Engine {
  /**
   * Posts a piece of work: an outcome for each of its commands. Their request ids must differ from each other.
   * Fails: OVERLOADED when too much waits, CALLER_GONE when the caller left before the database was asked,
   * DATABASE_UNAVAILABLE, OUTCOME_UNKNOWN.
   */
  post(work: Work, patience: Patience): Promise<Outcome[]>;
  /** How many commands wait. */
  readonly depth: number;
}

const BATCHES_IN_FLIGHT_MAX = 2;
/** At the most so many locked batches follow a conflict before the optimistic way is tried again. */
const PENALTY_MAX = 256;

/** What a work takes. */
interface Size {
  /** Commands, of which one with many legs counts as many. */
  readonly weight: number;
  readonly bytes: number;
  /** Whether it consists of movements only: most do, and are asked no further. */
  readonly isPlain: boolean;
}

interface Waiting {
  readonly work: Work;
  /** requestKey() of each of its commands. */
  readonly keys: readonly string[];
  readonly patience: Patience;
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
  memory: Memory = createMemory(config),
): Engine {
  const { clock } = memory;
  /** What waits or is under way, by requestKey(). */
  const pending = new Map<string, Waiting>();
  let queue: Waiting[] = [];
  let depth = 0;
  let bytes = 0;
  let inFlight = 0;
  let commandsInFlight = 0;
  /** Batches that hold, or are about to take, the locked way. */
  let locked = 0;
  let isPumpPlanned = false;
  let penalty = 1;
  let lockedLeft = 0;
  /** Settles when every batch so far is decided. */
  let lastDecided: Promise<unknown> = Promise.resolve();
  /** Settles when every batch so far is answered. */
  let lastSettled: Promise<unknown> = Promise.resolve();
  const metrics = createPostingMetrics(() => depth);

  async function post(work: Work, patience: Patience): Promise<Outcome[]> {
    const keys = work.commands.map(requestKey);
    const earlier = earlierOf(keys);
    return earlier.length === 0 ? enqueue(work, patience, keys) : postCopy(work, patience, keys, earlier);
  }

  function earlierOf(keys: readonly string[]): Waiting[] {
    const earlier: Waiting[] = [];
    for (const key of keys) {
      const waiting = pending.get(key);
      if (waiting !== undefined) earlier.push(waiting);
    }
    return earlier;
  }

  /** A copy of a request that is under way waits for it, and asks nothing of the database. */
  async function postCopy(
    work: Work,
    patience: Patience,
    keys: readonly string[],
    earlier: readonly Waiting[],
  ): Promise<Outcome[]> {
    await Promise.allSettled(earlier.map((waiting) => waiting.done));
    const [key] = keys;
    const [first] = earlier;
    if (keys.length > 1 || key === undefined || first === undefined) return post(work, patience);
    const outcomes = await first.done.catch(() => []);
    const outcome = outcomes[first.keys.indexOf(key)];
    if (outcome === undefined || !("transaction" in outcome)) return post(work, patience);
    return [replay(present(work.commands[0], "a command"), outcome.transaction)];
  }

  function enqueue(work: Work, patience: Patience, keys: readonly string[]): Promise<Outcome[]> {
    const size = measure(work);
    const isFull =
      depth + work.commands.length > config.GREY_POSTING_QUEUE_MAX ||
      bytes + size.bytes > config.GREY_POSTING_QUEUE_BYTES_MAX;
    // An empty queue takes any work: to one that is larger than the queue, no other moment would be better.
    if (isFull && queue.length > 0) throw new FailureError({ reason: "OVERLOADED" });
    depth += work.commands.length;
    bytes += size.bytes;
    const { promise: done, resolve, reject } = promised<Outcome[]>();
    const waiting = { work, keys, patience, size, since: performance.now(), done, resolve, reject };
    for (const key of keys) pending.set(key, waiting);
    queue.push(waiting);
    planPump();
    return done;
  }

  function unlist({ keys }: Waiting): void {
    for (const key of keys) pending.delete(key);
  }

  /** After what arrived in this turn of the event loop: calls that came together are posted together. */
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
      // A locked batch is alone, so that works are decided in their order.
      if (isLocked && inFlight > 0) return;
      const group = take();
      if (group.length === 0) continue;
      start(group, isLocked);
    }
  }

  /** About half of all that waits and is under way, so that one batch fills while another is written. */
  function take(): Waiting[] {
    const wanted = Math.min(Math.max(1, Math.ceil((depth + commandsInFlight) / 2)), config.GREY_POSTING_BATCH_MAX);
    const group: Waiting[] = [];
    let size = 0;
    let taken = 0;
    for (const waiting of queue) {
      if (size > 0 && size + waiting.size.weight > wanted) break;
      taken += 1;
      depth -= waiting.work.commands.length;
      bytes -= waiting.size.bytes;
      if (!stillWaits(waiting)) continue;
      group.push(waiting);
      size += waiting.size.weight;
    }
    queue = queue.slice(taken);
    return group;
  }

  function start(group: readonly Waiting[], isLocked: boolean): void {
    const size = sizeOf(group);
    inFlight += 1;
    commandsInFlight += size;
    const before = lastSettled;
    if (isLocked) lockedLeft -= 1;
    const settled = (isLocked ? takeLockedWay(group, before, false) : postOptimistic(group, before))
      // A fault that nobody foresaw fails this group, and none of those after it.
      .catch((error: unknown) => rejectAll(group, error))
      .finally(() => {
        inFlight -= 1;
        commandsInFlight -= size;
        // What finished in this turn of the event loop makes room for what its callers send next.
        planPump();
      });
    // Without their values: each would keep all before it in memory.
    lastSettled = Promise.all([before, settled]).then(() => undefined);
  }

  async function postOptimistic(group: readonly Waiting[], before: Promise<unknown>): Promise<void> {
    const works = group.map((waiting) => waiting.work);
    const started = performance.now();
    try {
      const deciding = lastDecided.then(() => decideOptimistic(works, specialOf(group)));
      lastDecided = deciding.catch(() => undefined);
      const { verdicts, decided, writing, settle } = await deciding;
      const recorded = await writing;
      settle(recorded.createTime);
      answer(group, outcomesOf(verdicts, decided, recorded));
      penalty = Math.max(1, penalty / 2);
      report("optimistic", group, started);
    } catch (error) {
      forget(works);
      if (isConflict(error)) metrics.conflict();
      if (sqlState(error) === SQLSTATE.SERIALIZATION_FAILURE) {
        lockedLeft = penalty;
        penalty = Math.min(penalty * 2, PENALTY_MAX);
      } else if (sqlState(error) === SQLSTATE.UNIQUE_VIOLATION) {
        // Retries come in numbers: the next batch may well hold another one.
        lockedLeft = Math.max(lockedLeft, 1);
      }
      // When the posting connection cannot be opened nothing was sent: the connections of the locked way may still serve.
      await takeLockedWay(group, before, isUnknown(error));
    }
  }

  /** Works that were handed in before are answered first: these may build on them. */
  async function takeLockedWay(group: readonly Waiting[], before: Promise<unknown>, wasTried: boolean): Promise<void> {
    locked += 1;
    try {
      await before;
      await postLocked(group, wasTried);
    } finally {
      locked -= 1;
    }
  }

  /**
   * Decides from what is remembered and sends the batch; the batches after it build on its decisions at once.
   * @param special those of the works that do more than movements
   */
  async function decideOptimistic(works: readonly Work[], special: readonly Work[]) {
    if (special.some(needsLocks)) throw new StaleError();
    const holds = await recallHolds(special);
    const known = await recall(works, holds);
    // A batch before this one is about to be decided again: what is remembered may lack its effects.
    if (locked > 0) throw new StaleError();
    const now = needsClock(special, known) ? clock.now() : 0n;
    if (
      now === undefined ||
      holds.some(({ hold }) => isUncertain(hold, now)) ||
      special.some((work) => isEnding(work, now))
    )
      throw new StaleError();
    const batch = openBatch(known, holds, now);
    const verdicts = decideWorks(batch, works, NOTHING_ANSWERED);
    // What leaves no trace is answered without writing, once everything before it is.
    const decided = decidedOf(verdicts);
    if (decided.length === 0) throw new StaleError();
    const writing = writeBatch(connection, batch, decided);
    writing.catch(() => undefined);
    return { verdicts, decided, writing, settle: memory.remember(batch) };
  }

  /**
   * The books of all accounts that the works speak of, as far as they exist: what is not remembered is read. They are the
   * batch's own, because the cache may forget them before they are all there.
   */
  async function recall(works: readonly Work[], holds: readonly ReadHold[]): Promise<ReadBook[]> {
    const holdOf = new Map(holds.map(({ hold }) => [hold.id, hold]));
    return remembered(memory.books, accountIdsOf(works, holdOf), (ids) => readBooks(database.pool, ids));
  }

  /** The holds that the works name, as far as they exist. */
  async function recallHolds(works: readonly Work[]): Promise<ReadHold[]> {
    return remembered(memory.holds, holdIdsOf(works), (ids) => readHolds(database.pool, ids));
  }

  function forget(works: readonly Work[]): void {
    const holdIds = holdIdsOf(works);
    memory.books.forget(accountIdsOf(works, { get: (id): Hold | undefined => memory.holds.get(id)?.hold }));
    memory.holds.forget(holdIds);
  }

  /** @param wasTried whether an attempt before this one may have been committed */
  async function postLocked(group: readonly Waiting[], wasTried: boolean): Promise<void> {
    const started = performance.now();
    const works = group.map((waiting) => waiting.work);
    try {
      const outcomes = await inClaimingTransaction(database, ENDLESS, ({ client }) => postWorks(client, works), {
        wasTried,
      });
      // Accounts that the commands did not name themselves.
      memory.books.forget(
        outcomes.flat().flatMap((one) => ("transaction" in one ? accountsTouchedBy(one.transaction) : [])),
      );
      const recorded = recordedIn(outcomes);
      if (recorded !== undefined) clock.set(recorded);
      answer(group, outcomes);
      report("locked", group, started);
    } catch (error) {
      // What one of them caused must not fail its neighbours.
      if (group.length > 1 && !isPassing(error)) {
        for (const waiting of group) await postLocked([waiting], wasTried);
      } else {
        rejectAll(group, error);
      }
    } finally {
      forget(works);
    }
  }

  function answer(group: readonly Waiting[], outcomes: readonly Outcome[][]): void {
    group.forEach((waiting, index) => {
      const ofWork = present(outcomes[index], "the outcomes of a work");
      for (const outcome of ofWork) countRejection(outcome);
      unlist(waiting);
      waiting.resolve(ofWork);
    });
  }

  function reject(waiting: Waiting, error: unknown): void {
    unlist(waiting);
    waiting.reject(error);
  }

  function rejectAll(group: readonly Waiting[], error: unknown): void {
    for (const waiting of group) reject(waiting, error);
  }

  /** Drops a work whose caller left before the database was asked. */
  function stillWaits(waiting: Waiting): boolean {
    try {
      waiting.patience.assertWaiting();
      return true;
    } catch (error) {
      reject(waiting, error);
      return false;
    }
  }

  function countRejection(outcome: Outcome): void {
    if ("transaction" in outcome && outcome.transaction.failure !== null && !outcome.replayed) {
      metrics.rejection(outcome.transaction.failure.reason);
    }
  }

  function report(shape: "optimistic" | "locked", group: readonly Waiting[], started: number): void {
    const oldest = present(group[0], "a work").since;
    metrics.batch(shape, sizeOf(group), started - oldest, performance.now() - started);
  }

  return {
    post,
    get depth() {
      return depth;
    },
  };
}

/** What is remembered of these, and what had to be read. */
async function remembered<T>(
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
    throw translate(error);
  }
}

/** How far the carried clock may be off before it matters: a second. */
const NEAR_MICROS = 1_000_000n;

/** Near its expiry, and before the database has said what its times are, a hold is decided by the database's own clock. */
function isUncertain({ expireTime, createTime }: Hold, now: Micros): boolean {
  return expireTime === null || createTime === null || expireTime <= now + NEAR_MICROS;
}

/** Near its end, what may be posted only until then is decided by the database's own clock. */
function isEnding({ commands }: Work, now: Micros): boolean {
  return commands.some(
    (command) =>
      isCompound(command) &&
      command.validUntil !== null &&
      command.validUntil <= now + NEAR_MICROS &&
      command.validUntil > now - NEAR_MICROS,
  );
}

/** When what is new among the outcomes was recorded; undefined when nothing is. */
function recordedIn(outcomes: readonly Outcome[][]): Micros | undefined {
  for (const outcome of outcomes.flat())
    if ("transaction" in outcome && !outcome.replayed) return outcome.transaction.createTime;
  return undefined;
}

/** The batch was not sent, because one before it has to be decided again. */
class StaleError extends Error {
  override readonly name = "StaleError";
}

const NOTHING_ANSWERED = new Map<string, null>();

/** Works that are under way are seen through, whether their callers wait or not. */
const ENDLESS: Patience = { assertWaiting: () => undefined };

/** Whether what was sent may have been committed. */
function isUnknown(error: unknown): boolean {
  if (error instanceof StaleError) return false;
  if (error instanceof FailureError) return error.failure.reason === "OUTCOME_UNKNOWN";
  return leavesOutcomeOpen(error);
}

/** Whether the error is about the database or the network, so that posting one by one would meet it again. */
function isPassing(error: unknown): boolean {
  return error instanceof FailureError && error.failure.reason !== "OVERLOADED";
}

function promised<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  return { promise, resolve, reject };
}

function sizeOf(group: readonly Waiting[]): number {
  return group.reduce((sum, { work }) => sum + work.commands.length, 0);
}

/** Two legs are as much as a movement; the bytes are about what it takes of memory while it waits. */
function measure({ commands }: Work): Size {
  let weight = commands.length;
  let bytes = COMMAND_BYTES * commands.length;
  let isPlain = true;
  for (const command of commands) {
    const { description, metadata } = command;
    bytes += 2 * description.length;
    for (const key in metadata) bytes += 2 * (key.length + (metadata[key]?.length ?? 0)) + 64;
    if (isMovement(command)) continue;
    isPlain = false;
    if (!isCompound(command)) continue;
    weight += Math.ceil(command.legs.length / 2);
    bytes += LEG_BYTES * command.legs.length;
  }
  return { weight, bytes, isPlain };
}

/** The works of these that do more than movements. */
function specialOf(group: readonly Waiting[]): Work[] {
  return group.filter(({ size }) => !size.isPlain).map(({ work }) => work);
}

const COMMAND_BYTES = 600;
const LEG_BYTES = 300;
