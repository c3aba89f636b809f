import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { TransactionKind, TransactionState } from "../../base/codes.js";

/** A filter of transactions; empty lists and texts match all. */
export interface TransactionFilter {
  /** Matches transactions that touch any of these accounts; null matches all. */
  readonly accountIds: readonly Uuid[] | null;
  readonly kinds: readonly TransactionKind[];
  readonly states: readonly TransactionState[];
  /** The earliest record time, inclusive. */
  readonly from: Micros | null;
  /** The end of the record time, exclusive. */
  readonly before: Micros | null;
  /** Bounds of the transaction's amount, in minor units, inclusive. */
  readonly minAmount: bigint | null;
  readonly maxAmount: bigint | null;
  readonly currencyCode: string;
  readonly descriptionPrefix: string;
  readonly externalReference: string;
  /** Conditions that the metadata must all meet. */
  readonly metadata: readonly MetadataCondition[];
}

/** A condition on a metadata key: one of some values, a range, or mere presence. */
export interface MetadataCondition {
  readonly key: string;
  readonly values: readonly string[] | null;
  readonly range: ValueRange | null;
}

/** A range of values in byte order; an empty bound is none. */
export interface ValueRange {
  readonly from: string;
  /** Exclusive. */
  readonly before: string;
}

/** The part of a transaction that a filter examines. */
export interface Candidate {
  readonly kind: TransactionKind;
  readonly state: TransactionState;
  readonly currencyCode: string;
  readonly amountMinor: bigint;
  readonly description: string;
  readonly externalReference: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The accounts that it touched, or was to touch. */
  readonly accountIds: readonly (Uuid | null)[];
}

/** Returns whether the transaction matches the filter, except for its time, which is a range of the journal. */
export function matchesFilter(filter: TransactionFilter, candidate: Candidate): boolean {
  const { accountIds, kinds, states, minAmount, maxAmount, currencyCode, externalReference } = filter;
  return (
    (kinds.length === 0 || kinds.includes(candidate.kind)) &&
    (states.length === 0 || states.includes(candidate.state)) &&
    (minAmount === null || candidate.amountMinor >= minAmount) &&
    (maxAmount === null || candidate.amountMinor <= maxAmount) &&
    (currencyCode === "" || candidate.currencyCode === currencyCode) &&
    (externalReference === "" || candidate.externalReference === externalReference) &&
    candidate.description.startsWith(filter.descriptionPrefix) &&
    (accountIds === null || candidate.accountIds.some((id) => id !== null && accountIds.includes(id))) &&
    filter.metadata.every((condition) => matchesMetadata(condition, candidate.metadata))
  );
}

function matchesMetadata({ key, values, range }: MetadataCondition, metadata: Candidate["metadata"]): boolean {
  // Keys are the caller's: an inherited property is none of them.
  const value = Object.hasOwn(metadata, key) ? metadata[key] : undefined;
  return (
    value !== undefined && (values === null || values.includes(value)) && (range === null || isWithin(value, range))
  );
}

function isWithin(value: string, { from, before }: ValueRange): boolean {
  const bytes = Buffer.from(value);
  return bytes.compare(Buffer.from(from)) >= 0 && (before === "" || bytes.compare(Buffer.from(before)) < 0);
}
