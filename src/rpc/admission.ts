/** How many calls the server works on at once. */
export interface AdmissionOptions {
  /** Never more than this. */
  readonly callsInFlightMax: number;
  /** Under load no more than are answered within about this. */
  readonly callWaitMs: number;
  /** What a refused caller is told to wait at the least. */
  readonly retryAfterMs: number;
}

/** What a call has seen: since when it is worked on, and how many answers there had been by then. */
export interface CallTiming {
  sinceMs: number;
  answersBefore: number;
}

const WINDOW_MS = 100;
/** Fewer calls say nothing about the rate. */
const CALLS_MIN = 20;
/** However slow the server is, so many calls are taken on. */
const LIMIT_MIN = 64;
/** The part of a new measurement in the rate when that falls: a moment in which the server stood still is no reason. */
const WEIGHT_DOWN = 0.2;
/** The part of a new measurement in the rate when that rises: a server has done what was measured. */
const WEIGHT_UP = 0.5;
/** Refusing costs about as much as answering: refused callers are to come back at this part of the rate. */
const RETURN_SHARE = 0.1;
/** Nobody is told to wait longer. */
const RETRY_AFTER_MAX_MS = 20_000;
/** Answers a ms, until something is known. */
const RATE_ASSUMED = 5;
/** By how much the limit grows in a window in which it stood in nobody's way. */
const GROWTH = 1.5;
/** Answers come in lumps: what a call sees in less time is taken to have come in so much. */
const STAY_MS_MIN = 10;

/**
 * Counts the calls that are worked on, and takes on as many as are answered in time.
 *
 * A queue that is longer than callers wait for only makes the server work for those who have gone. So once answers take
 * longer than wanted, or calls were refused, the limit is what is answered within the wanted time at the present rate
 * (Little's law). While nobody is refused it grows again.
 *
 * The rate is what calls see: how many answers are given in a window of time while a call is worked on. Time in which nothing
 * is asked is in no call, so that an idle server is not taken for a slow one; time in which the server stood still is in one
 * window; and the median of the calls is not misled by one that takes long.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #now: () => number;
  readonly #idle: (() => void)[] = [];
  /** Calls and messages of streams. */
  #count = 0;
  /** Calls that are no messages of streams. */
  #calls = 0;
  #limit: number;
  /** Useful answers a ms, while there is too much to do. */
  #ratePerMs: number | undefined;
  /** Useful answers so far. */
  #answers = 0;
  #windowStart: number;
  #answersAtWindowStart = 0;
  #durations: number[] = [];
  #rates: number[] = [];
  #wasFull = false;
  /** When the caller that was refused last is to come back. */
  #nextReturn = 0;

  /** @param now a clock in ms */
  constructor(options: AdmissionOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#now = now;
    this.#limit = options.callsInFlightMax;
    this.#windowStart = now();
  }

  get count(): number {
    return this.#count;
  }

  /** Whether the call that has just entered is taken on. */
  admits(): boolean {
    if (this.#calls <= this.#limit && this.admitsItem()) return true;
    this.#wasFull = true;
    return false;
  }

  /** Whether a message of a stream is taken on: the stream itself is slowed down by what it has under way. */
  admitsItem(): boolean {
    return this.#count <= this.#options.callsInFlightMax;
  }

  enter(): CallTiming {
    this.#calls += 1;
    this.enterItem();
    return { sinceMs: this.#now(), answersBefore: this.#answers };
  }

  leave(): void {
    this.#calls -= 1;
    this.leaveItem();
  }

  /** A call that waits for what is not the server's work is still under way, and takes no other's place meanwhile. */
  releaseSlot(): void {
    this.#calls -= 1;
  }

  /** What came before says nothing of how long the call is worked on. */
  retakeSlot(stay: CallTiming): void {
    this.#calls += 1;
    stay.sinceMs = this.#now();
    stay.answersBefore = this.#answers;
  }

  /** A message of a stream: it counts, and does not take the place of calls. */
  enterItem(): void {
    this.#count += 1;
  }

  leaveItem(): void {
    this.#count -= 1;
    if (this.#count === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** How long a caller who is refused is to wait: each a little longer than the one before, so that they return one by one. */
  retryAfterMs(): number {
    const now = this.#now();
    const { retryAfterMs } = this.#options;
    const latest = now + Math.max(retryAfterMs, RETRY_AFTER_MAX_MS);
    const between = 1 / (RETURN_SHARE * Math.max(this.#ratePerMs ?? RATE_ASSUMED, 0.001));
    this.#nextReturn = Math.min(latest, Math.max(this.#nextReturn + between, now + retryAfterMs));
    return Math.ceil(this.#nextReturn - now);
  }

  /**
   * A call that was taken on is over.
   * @param isUseful false when nobody waited for its answer any more
   */
  answered({ sinceMs, answersBefore }: CallTiming, isUseful: boolean): void {
    const now = this.#now();
    if (isUseful) this.#answers += 1;
    this.#durations.push(now - sinceMs);
    const seen = this.#answers - Math.max(answersBefore, this.#answersAtWindowStart);
    this.#rates.push(seen / Math.max(now - Math.max(sinceMs, this.#windowStart), STAY_MS_MIN));
    if (this.#durations.length < CALLS_MIN || now - this.#windowStart < WINDOW_MS) return;
    this.#adjust(medianOf(this.#rates), medianOf(this.#durations));
    this.#windowStart = now;
    this.#answersAtWindowStart = this.#answers;
    this.#durations = [];
    this.#rates = [];
    this.#wasFull = false;
  }

  #adjust(ratePerMs: number, medianMs: number): void {
    const { callsInFlightMax, callWaitMs } = this.#options;
    let limit = Math.max(this.#limit * GROWTH, ratePerMs * callWaitMs);
    if (this.#wasFull || medianMs > callWaitMs) {
      const before = this.#ratePerMs ?? ratePerMs;
      this.#ratePerMs = before + (ratePerMs > before ? WEIGHT_UP : WEIGHT_DOWN) * (ratePerMs - before);
      limit = this.#ratePerMs * callWaitMs;
    } else {
      this.#ratePerMs = undefined;
    }
    this.#limit = Math.min(callsInFlightMax, Math.max(LIMIT_MIN, Math.ceil(limit)));
  }

  /** Resolves at the first moment at which no call is worked on. */
  whenIdle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}

function medianOf(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
