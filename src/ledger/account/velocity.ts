import type { Failure } from "../../base/failure.js";
import { AMOUNT_MAX } from "../../base/money.js";
import { toIso, type Micros } from "../../base/time.js";
import type { TransactionKind } from "../../base/codes.js";
import { KINDS } from "../command/kinds.js";

/** The direction of money, seen from a wallet. */
export type Direction = "OUTGOING" | "INCOMING";

/** A maximum of what may move within a rolling window of time. */
export interface VelocityTerms {
  /** Identifies it among the limits of its account. */
  readonly name: string;
  readonly direction: Direction;
  /** The kinds of transactions that count; empty: all that can. */
  readonly kinds: readonly TransactionKind[];
  readonly windowMicros: bigint;
  /** Minor units; null: any amount. */
  readonly maxAmountMinor: bigint | null;
  /** null: any number. */
  readonly maxCount: bigint | null;
  /** The time from which uses are counted. */
  readonly since: Micros;
}

/** A limit with its usage. A decision replaces it and never changes it. */
export interface VelocityLimit extends VelocityTerms {
  /** The oldest first; slices that no window reaches any more may be among them. */
  readonly slices: readonly Slice[];
}

/** Usage in one slice of time: a hundredth of the window. */
export interface Slice {
  /** The time since 1970 divided by the slice's length. */
  readonly slice: bigint;
  readonly amountMinor: bigint;
  readonly count: bigint;
}

/** Money that leaves a wallet or enters it. */
export interface Use {
  readonly direction: Direction;
  readonly kind: TransactionKind;
  readonly amountMinor: bigint;
  /** 0 for an addition to a counted use, such as an increase of a hold. */
  readonly count: bigint;
}

const SLICES = 100n;

type VelocityFailure = Extract<Failure, { reason: "VELOCITY_EXCEEDED" }>;

/** Checks the limits against a use at this time; the first limit that refuses it answers. */
export function checkVelocity(
  walletId: string,
  limits: readonly VelocityLimit[],
  use: Use,
  now: Micros,
): Omit<VelocityFailure, "currencyCode"> | undefined {
  for (const limit of limits) {
    if (!counts(limit, use)) continue;
    const live = liveSlices(limit, now);
    const breach =
      findBreach(limit, live, "amount", limit.maxAmountMinor, use.amountMinor) ??
      findBreach(limit, live, "count", limit.maxCount, use.count);
    if (breach !== undefined) return { ...breach, walletId };
  }
  return undefined;
}

/** Returns the limits with the use counted. */
export function addUse(limits: readonly VelocityLimit[], use: Use, now: Micros): readonly VelocityLimit[] {
  return limits.map((limit) => (counts(limit, use) ? addUseToLimit(limit, use, now) : limit));
}

/** Returns the usage of the limit at this time. */
export function getUsage(limit: VelocityLimit, now: Micros): { amountMinor: bigint; count: bigint } {
  const live = liveSlices(limit, now);
  return { amountMinor: min(sum(live, "amount"), AMOUNT_MAX), count: sum(live, "count") };
}

/** Returns the length of a slice. */
export function sliceMicros({ windowMicros }: VelocityTerms): bigint {
  return windowMicros / SLICES;
}

/** Returns the slice in which a use at this time is counted. */
export function sliceAt(limit: VelocityTerms, time: Micros): bigint {
  return time / sliceMicros(limit);
}

/**
 * Returns the uses of each limit since an earlier state of them; undefined for none. They are all in the latest slice,
 * because a batch has one time.
 */
export function findUsesSince(
  limits: readonly VelocityLimit[] | null,
  before: readonly VelocityLimit[] | null,
): readonly (Slice | undefined)[] {
  return (limits ?? []).map((limit, index) => {
    const earlier = before?.[index];
    const last = limit.slices.at(-1);
    if (last === undefined || earlier === undefined || limit === earlier) return undefined;
    const same = earlier.slices.find(({ slice }) => slice === last.slice);
    return same === undefined ? last : subtract(last, same);
  });
}

/**
 * Moves uses, which were counted at an earlier time, into the slice of the time at which they are recorded, as the database
 * does.
 */
export function moveUsesTo(
  limits: readonly VelocityLimit[],
  uses: readonly (Slice | undefined)[],
  time: Micros,
): readonly VelocityLimit[] {
  return limits.map((limit, index) => {
    const use = uses[index];
    const slice = sliceAt(limit, time);
    return use === undefined || use.slice === slice ? limit : { ...limit, slices: moveUse(limit.slices, use, slice) };
  });
}

/** Returns the slices with the use moved from its own slice into this one. */
function moveUse(slices: readonly Slice[], use: Slice, slice: bigint): readonly Slice[] {
  const target = slices.find((one) => one.slice === slice) ?? { slice, amountMinor: 0n, count: 0n };
  const rest = slices
    .filter((one) => one.slice !== slice)
    .map((one) => (one.slice === use.slice ? subtract(one, use) : one))
    .filter(({ amountMinor, count }) => amountMinor > 0n || count > 0n);
  const after = { slice, amountMinor: target.amountMinor + use.amountMinor, count: target.count + use.count };
  return [...rest, after].toSorted((a, b) => (a.slice < b.slice ? -1 : 1));
}

function subtract(one: Slice, other: Slice): Slice {
  return { ...one, amountMinor: one.amountMinor - other.amountMinor, count: one.count - other.count };
}

/** Returns the oldest slice that the window reaches at this time: one that it reaches in part counts whole. */
export function oldestSliceAt(limit: VelocityTerms, time: Micros): bigint {
  return sliceAt(limit, time) - SLICES;
}

function counts(limit: VelocityTerms, { direction, kind }: Use): boolean {
  return (
    limit.direction === direction &&
    KINDS[kind].countsForVelocity &&
    (limit.kinds.length === 0 || limit.kinds.includes(kind))
  );
}

function liveSlices(limit: VelocityLimit, now: Micros): readonly Slice[] {
  const oldest = oldestSliceAt(limit, now);
  return limit.slices.filter(({ slice }) => slice >= oldest);
}

type Measure = "amount" | "count";

function sum(slices: readonly Slice[], measure: Measure): bigint {
  return slices.reduce((total, slice) => total + getValue(slice, measure), 0n);
}

function getValue({ amountMinor, count }: Slice, measure: Measure): bigint {
  return measure === "amount" ? amountMinor : count;
}

function findBreach(
  limit: VelocityLimit,
  live: readonly Slice[],
  measure: Measure,
  max: bigint | null,
  required: bigint,
): Omit<VelocityFailure, "walletId" | "currencyCode"> | undefined {
  const total = sum(live, measure);
  if (max === null || required === 0n || total + required <= max) return undefined;
  const freesAt = findReleaseTime(limit, live, measure, max - required);
  return {
    reason: "VELOCITY_EXCEEDED",
    limit: limit.name,
    measure,
    max: max.toString(),
    used: total.toString(),
    required: required.toString(),
    windowSeconds: (limit.windowMicros / 1_000_000n).toString(),
    ...(freesAt !== undefined && { freesTime: toIso(freesAt) }),
  };
}

/** Returns the time at which usage falls to this, unless more is used until then; undefined for never. */
function findReleaseTime(
  limit: VelocityLimit,
  live: readonly Slice[],
  measure: Measure,
  most: bigint,
): Micros | undefined {
  let left = sum(live, measure);
  for (const slice of live) {
    left -= getValue(slice, measure);
    // The window has left a slice as soon as it reaches no part of it.
    if (left <= most) return (slice.slice + SLICES + 1n) * sliceMicros(limit);
  }
  return undefined;
}

function addUseToLimit(limit: VelocityLimit, use: Use, now: Micros): VelocityLimit {
  const current = sliceAt(limit, now);
  // The clock of another server may have been ahead: time does not go back.
  const slice = limit.slices.reduce((latest, one) => (one.slice > latest ? one.slice : latest), current);
  const before = limit.slices.find((one) => one.slice === slice) ?? { slice, amountMinor: 0n, count: 0n };
  const after = { slice, amountMinor: before.amountMinor + use.amountMinor, count: before.count + use.count };
  return { ...limit, slices: [...liveSlices(limit, now).filter((one) => one.slice !== slice), after] };
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
