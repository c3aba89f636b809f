/** The bounds of admission. */
export interface AdmissionOptions {
  /** The most calls that are in flight at once. */
  readonly callsInFlightMax: number;
  /** Under load, the server admits only as many calls as it answers within about this time. */
  readonly callWaitMs: number;
  /** The shortest wait for a refused caller. */
  readonly retryAfterMs: number;
}

/** The moment at which work on a call began, and the number of answers before it. */
export interface CallTiming {
  sinceMs: number;
  answersBefore: number;
}

const WINDOW_MS = 100;
/** The fewest calls from which a rate is estimated. */
const CALLS_MIN = 20;
/** The number of calls that are admitted however slow the server is. */
const LIMIT_MIN = 64;
/** The weight of a new measurement below the rate: low, since a short standstill is no trend. */
const WEIGHT_DOWN = 0.2;
/** The weight of a new measurement above the rate: high, since the server has proven that rate. */
const WEIGHT_UP = 0.5;
/** The share of the rate at which refused callers return: refusing costs about as much as answering. */
const RETURN_SHARE = 0.1;
/** The longest wait for a refused caller. */
const RETRY_AFTER_MAX_MS = 20_000;
/** The rate before any measurement, in answers per ms. */
const RATE_ASSUMED = 5;
/** The factor by which the limit grows after a window without refusals. */
const GROWTH = 1.5;
/** The shortest time over which a call measures the rate: answers come in bursts. */
const STAY_MS_MIN = 10;

/**
 * Counts the calls in flight, and admits as many as can be answered in time.
 *
 * A queue longer than callers wait for makes the server work for callers who have left. So once answers take longer than
 * callWaitMs, or calls were refused, the limit is the number of answers within callWaitMs at the present rate (Little's law).
 * It grows again while no call is refused.
 *
 * Calls measure the rate: each counts the answers given in a window while it is in flight. Idle time belongs to no call, so
 * that an idle server does not look slow; a standstill affects one window; and one slow call does not distort the median.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #now: () => number;
  readonly #idle: (() => void)[] = [];
  /** Unary calls and messages of streams. */
  #count = 0;
  /** Unary calls. */
  #calls = 0;
  #limit: number;
  /** Useful answers per ms; undefined unless the server is overloaded. */
  #ratePerMs: number | undefined;
  /** Useful answers so far. */
  #answers = 0;
  #windowStart: number;
  #answersAtWindowStart = 0;
  #durations: number[] = [];
  #rates: number[] = [];
  #wasFull = false;
  /** The time at which the caller that was refused last may return. */
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

  /** Decides whether the call that has just entered is admitted. */
  admits(): boolean {
    if (this.#calls <= this.#limit && this.admitsItem()) return true;
    this.#wasFull = true;
    return false;
  }

  /** Decides whether a message of a stream is admitted. The stream's own messages in flight already slow down its sender. */
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

  /** Lets another call take the place of one that waits for something other than the server's work. It stays in flight. */
  releaseSlot(): void {
    this.#calls -= 1;
  }

  /** Takes the place back. The time before does not count as work on the call. */
  retakeSlot(stay: CallTiming): void {
    this.#calls += 1;
    stay.sinceMs = this.#now();
    stay.answersBefore = this.#answers;
  }

  /** Counts a message of a stream, which takes no call's place. */
  enterItem(): void {
    this.#count += 1;
  }

  leaveItem(): void {
    this.#count -= 1;
    if (this.#count === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Returns the wait for a refused caller: each a little longer than the one before, so that callers return one by one. */
  retryAfterMs(): number {
    const now = this.#now();
    const { retryAfterMs } = this.#options;
    const latest = now + Math.max(retryAfterMs, RETRY_AFTER_MAX_MS);
    const between = 1 / (RETURN_SHARE * Math.max(this.#ratePerMs ?? RATE_ASSUMED, 0.001));
    this.#nextReturn = Math.min(latest, Math.max(this.#nextReturn + between, now + retryAfterMs));
    return Math.ceil(this.#nextReturn - now);
  }

  /**
   * Records the end of a call that was admitted.
   * @param isUseful false when its caller no longer waited for the answer
   */
  answered({ sinceMs, answersBefore }: CallTiming, isUseful: boolean): void {
    const now = this.#now();
    if (isUseful) this.#answers += 1;
    this.#durations.push(now - sinceMs);
    const seen = this.#answers - Math.max(answersBefore, this.#answersAtWindowStart);
    this.#rates.push(seen / Math.max(now - Math.max(sinceMs, this.#windowStart), STAY_MS_MIN));
    if (this.#durations.length < CALLS_MIN || now - this.#windowStart < WINDOW_MS) return;
    this.#adjust(computeMedian(this.#rates), computeMedian(this.#durations));
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

  /** Resolves once no call is in flight. */
  whenIdle(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}

function computeMedian(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
