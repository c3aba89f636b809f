import { FailureError } from "../../base/failure.js";
import type { CallerContext } from "../../base/caller-context.js";
import type { Config } from "../../config/config.js";
import { isMovement, requestKey, type Command, type UnitOfWork } from "../command/command.js";
import type { Outcome } from "./outcome.js";

/** A unit of work whose caller waits for its outcomes. */
export interface QueuedUnit {
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

/** The resources that a unit takes. */
interface Size {
  /** The number of commands, of which one with many legs counts as many. */
  readonly weight: number;
  readonly bytes: number;
  /** True for a unit of movements only, as most are: it skips the checks of other kinds. */
  readonly isPlain: boolean;
}

/** The units that wait for a batch, in their order, within limits of number and memory. */
export interface Queue {
  /** The number of commands that wait. */
  readonly depth: number;
  readonly isEmpty: boolean;
  /** Adds a unit. Fails: OVERLOADED */
  add(unit: UnitOfWork, keys: readonly string[], context: CallerContext): QueuedUnit;
  /** Returns the units, waiting or in a batch, that have one of these request ids. */
  findEarlier(keys: readonly string[]): QueuedUnit[];
  /** Takes units of about this weight, at least one, and drops those whose callers have left. */
  take(weight: number): QueuedUnit[];
  /** Answers a unit that was taken. */
  resolve(queued: QueuedUnit, outcomes: Outcome[]): void;
  reject(queued: QueuedUnit, error: unknown): void;
}

export function createQueue({
  GREY_POSTING_QUEUE_MAX: commandsMax,
  GREY_POSTING_QUEUE_BYTES_MAX: bytesMax,
}: Pick<Config, "GREY_POSTING_QUEUE_MAX" | "GREY_POSTING_QUEUE_BYTES_MAX">): Queue {
  /** The units that wait or are in a batch, by requestKey(). */
  const pending = new Map<string, QueuedUnit>();
  let waiting: QueuedUnit[] = [];
  let depth = 0;
  let bytes = 0;

  function unlist({ keys }: QueuedUnit): void {
    for (const key of keys) pending.delete(key);
  }

  function reject(queued: QueuedUnit, error: unknown): void {
    unlist(queued);
    queued.reject(error);
  }

  function keepIfWaiting(queued: QueuedUnit): boolean {
    try {
      queued.context.assertWaiting();
      return true;
    } catch (error) {
      reject(queued, error);
      return false;
    }
  }

  return {
    get depth() {
      return depth;
    },
    get isEmpty() {
      return waiting.length === 0;
    },

    add: (unit, keys, context) => {
      const size = measure(unit);
      const isFull = depth + unit.commands.length > commandsMax || bytes + size.bytes > bytesMax;
      // An empty queue takes any unit: for one that is larger than the queue, no other moment would be better.
      if (isFull && waiting.length > 0) throw new FailureError({ reason: "OVERLOADED" });
      depth += unit.commands.length;
      bytes += size.bytes;
      const { promise: done, resolve, reject: fail } = createPromise<Outcome[]>();
      const queued = { unit, keys, context, size, since: performance.now(), done, resolve, reject: fail };
      for (const key of keys) pending.set(key, queued);
      waiting.push(queued);
      return queued;
    },

    findEarlier: (keys) => {
      const earlier: QueuedUnit[] = [];
      for (const key of keys) {
        const queued = pending.get(key);
        if (queued !== undefined) earlier.push(queued);
      }
      return earlier;
    },

    take: (weight) => {
      const group: QueuedUnit[] = [];
      let taken = 0;
      let size = 0;
      for (const queued of waiting) {
        if (size > 0 && size + queued.size.weight > weight) break;
        taken += 1;
        depth -= queued.unit.commands.length;
        bytes -= queued.size.bytes;
        if (!keepIfWaiting(queued)) continue;
        group.push(queued);
        size += queued.size.weight;
      }
      waiting = waiting.slice(taken);
      return group;
    },

    resolve: (queued, outcomes) => {
      unlist(queued);
      queued.resolve(outcomes);
    },
    reject,
  };
}

/** Measures a unit: two legs weigh as much as a movement, and the bytes are about its memory in the queue. */
export function measure({ commands }: UnitOfWork): Size {
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
const COMMAND_BYTES = 600;
const LEG_BYTES = 300;

/** Returns the requestKey() of each command of a unit. */
export function listKeys({ commands }: UnitOfWork): string[] {
  return commands.map(requestKey);
}

export function countCommands(group: readonly QueuedUnit[]): number {
  return group.reduce((sum, { unit }) => sum + unit.commands.length, 0);
}

/** Selects the units that hold more than movements. */
export function selectSpecial(group: readonly QueuedUnit[]): UnitOfWork[] {
  return group.filter(({ size }) => !size.isPlain).map(({ unit }) => unit);
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
