// Each value up to 127 µs has a bucket; above, each power of two has 64 buckets, so values are accurate to 1.6 %.
const EXACT_MAX = 128;
const SUB_BITS = 6;
const SUB_COUNT = 1 << SUB_BITS;
const EXPONENT_MAX = 31;
const BUCKET_COUNT = EXACT_MAX + (EXPONENT_MAX - SUB_BITS - 1) * SUB_COUNT;
const VALUE_MAX_US = 2 ** EXPONENT_MAX - 1;

/** The latencies of a row, in microseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** A histogram of latencies with constant cost per value. */
export class LatencyHistogram {
  readonly #buckets = new Float64Array(BUCKET_COUNT);
  #count = 0;
  #sumUs = 0;
  #maxUs = 0;

  record(us: number): void {
    const value = Math.min(Math.max(Math.round(us), 0), VALUE_MAX_US);
    const index = findBucket(value);
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#count += 1;
    this.#sumUs += value;
    if (value > this.#maxUs) this.#maxUs = value;
  }

  /** Clears the histogram. */
  reset(): void {
    this.#buckets.fill(0);
    this.#count = 0;
    this.#sumUs = 0;
    this.#maxUs = 0;
  }

  /** Returns a quantile in microseconds; 0 if the histogram is empty. */
  quantile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (let index = 0; index < BUCKET_COUNT; index += 1) {
      seen += this.#buckets[index] ?? 0;
      if (seen >= rank) return Math.min(calculateMiddle(index), this.#maxUs);
    }
    return 0;
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      mean: this.#count === 0 ? 0 : this.#sumUs / this.#count,
      p50: this.quantile(0.5),
      p90: this.quantile(0.9),
      p99: this.quantile(0.99),
      p999: this.quantile(0.999),
      max: this.#maxUs,
    };
  }
}

function findBucket(value: number): number {
  if (value < EXACT_MAX) return value;
  const exponent = 31 - Math.clz32(value);
  const sub = (value >>> (exponent - SUB_BITS)) & (SUB_COUNT - 1);
  return EXACT_MAX + (exponent - SUB_BITS - 1) * SUB_COUNT + sub;
}

function calculateMiddle(index: number): number {
  if (index < EXACT_MAX) return index;
  const exponent = Math.floor((index - EXACT_MAX) / SUB_COUNT) + SUB_BITS + 1;
  const width = 2 ** (exponent - SUB_BITS);
  return 2 ** exponent + ((index - EXACT_MAX) % SUB_COUNT) * width + width / 2;
}
