import { connect, type Socket } from "node:net";
import type { CallerContext } from "../../base/caller-context.js";
import { FailureError, type Failure } from "../../base/failure.js";
import { splitAddress } from "../../config/address.js";
import type { UnitOfWork } from "../command/command.js";
import type { Outcome } from "../post/outcome.js";
import { createBunch } from "./bunch.js";
import { decodeToFront, encodeToPoster } from "./codec.js";
import type { Holder } from "./lease.js";
import { createWire, greetPoster, type ToFront, type UnitNumber } from "./wire.js";

/** A unit of work whose caller waits for its outcomes. */
export interface Waiting {
  readonly unit: UnitOfWork;
  readonly context: CallerContext;
  readonly resolve: (outcomes: Outcome[]) => void;
  readonly reject: (error: unknown) => void;
}

/** This server's connection to the one that posts for all. */
export interface Link {
  readonly holder: Holder;
  readonly isBroken: boolean;
  /** Hands a unit over, before drain(); units are posted in the order in which they are handed over. */
  hand(waiting: Waiting): void;
  /** Hands over no more. Settles when all that was handed over is answered, or the link is broken. */
  drain(): Promise<void>;
  /** Breaks the link. */
  break(): void;
}

export interface LinkOptions {
  /** The time of silence after which the link is broken, in ms. */
  readonly silenceMs: number;
  /** Receives the units that were not answered, in the order in which they were handed over, when the link breaks. */
  readonly onBroken: (unanswered: readonly Waiting[]) => void;
  /** Called when the poster asks for no more units. */
  readonly onClosing: () => void;
  /** Receives errors that Grey does not know. */
  readonly onFault: (error: unknown) => void;
}

/** The numbers of units: those that a frame can carry. */
const NUMBERS = 2 ** 32;

/** Connects to the server that posts for all. Fails if it cannot be reached or does not hold the lease. */
export async function openLink(holder: Holder, options: LinkOptions): Promise<Link> {
  const socket = connect({ ...splitAddress(holder.address), noDelay: true, allowHalfOpen: true });
  // The errors are those of what waits for the socket.
  socket.on("error", () => undefined);
  const timer = setTimeout(() => socket.destroy(new Error("it does not answer")), options.silenceMs);
  try {
    await greetPoster(socket, holder.token);
    return createLink(socket, holder, options);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function createLink(socket: Socket, holder: Holder, { silenceMs, onBroken, onClosing, onFault }: LinkOptions): Link {
  const unanswered = new Map<UnitNumber, Waiting>();
  /** Those whose callers have left, which the poster was told. */
  const gone = new Set<UnitNumber>();
  let nextNumber = 0;
  let heardMs = performance.now();
  const wire = createWire(socket, { encode: encodeToPoster, decode: decodeToFront }, take, onFault);
  const send = createBunch<UnitNumber>((numbers) => {
    const units = numbers.flatMap((number) => {
      const unit = unanswered.get(number)?.unit;
      return unit === undefined ? [] : [[number, unit] as const];
    });
    wire.send({ kind: "UNITS", units });
  });
  const watch = setInterval(look, silenceMs / 4);
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      clearInterval(watch);
      const left = [...unanswered.values()];
      unanswered.clear();
      onBroken(left);
      resolve();
    });
  });
  socket.on("end", () => socket.end());

  // Also a part of a large frame is a sign of life.
  socket.on("readable", () => {
    heardMs = performance.now();
  });

  function take(value: ToFront): void {
    if (value.kind === "CLOSING") return onClosing();
    if (value.kind === "ALIVE") return;
    for (const [number, answer] of value.answers) {
      const waiting = unanswered.get(number);
      unanswered.delete(number);
      gone.delete(number);
      if ("reason" in answer) waiting?.reject(toError(answer, waiting.context));
      else waiting?.resolve([...answer]);
    }
  }

  function isSilent(): boolean {
    return performance.now() - heardMs > silenceMs;
  }

  function look(): void {
    // If it was this process that stood still, what has arrived meanwhile is read first.
    if (isSilent()) setImmediate(() => isSilent() && socket.destroy());
    const numbers: UnitNumber[] = [];
    for (const [number, { context }] of unanswered) {
      if (gone.has(number) || isWaiting(context)) continue;
      gone.add(number);
      numbers.push(number);
    }
    // After the units themselves, which this turn of the event loop may have handed over.
    if (numbers.length > 0) setImmediate(() => wire.send({ kind: "GONE", numbers }));
  }

  return {
    holder,
    get isBroken() {
      return socket.destroyed;
    },
    hand: (waiting) => {
      const number = nextNumber;
      // Those that are not answered are far fewer.
      nextNumber = (nextNumber + 1) % NUMBERS;
      unanswered.set(number, waiting);
      send(number);
    },
    drain: () => {
      // After what this turn of the event loop has handed over.
      setImmediate(() => {
        wire.send({ kind: "LAST" });
        socket.end();
      });
      return closed;
    },
    break: () => socket.destroy(),
  };
}

/** Returns the error of a unit that failed as a whole; of one whose caller has left, for the reason that this server knows. */
function toError(failure: Failure, context: CallerContext): unknown {
  if (failure.reason === "CALLER_GONE") {
    try {
      context.assertWaiting();
    } catch (error) {
      return error;
    }
  }
  return new FailureError(failure);
}

function isWaiting(context: CallerContext): boolean {
  try {
    context.assertWaiting();
    return true;
  } catch {
    return false;
  }
}
