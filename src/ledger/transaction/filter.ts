import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { TransactionKind, TransactionState } from "../../base/codes.js";

/** Which transactions are looked for; empty lists and texts mean all. */
export interface TransactionFilter {
  /** Those that touch any of these accounts; null: any account. */
  readonly accountIds: readonly Uuid[] | null;
  readonly kinds: readonly TransactionKind[];
  readonly states: readonly TransactionState[];
  /** Recorded at this time or later. */
  readonly from: Micros | null;
  /** Recorded before this time. */
  readonly before: Micros | null;
  /** Bounds of the transaction's own amount, in minor units, both included. */
  readonly minAmount: bigint | null;
  readonly maxAmount: bigint | null;
  readonly currencyCode: string;
  readonly descriptionPrefix: string;
  readonly externalReference: string;
  /** What its metadata must all be. */
  readonly metadata: readonly MetadataCondition[];
}

/** What a pair of the metadata must be: one of some values, within a range, or only there. */
export interface MetadataCondition {
  readonly key: string;
  readonly values: readonly string[] | null;
  readonly range: ValueRange | null;
}

/** A range of values in the order of their bytes; empty: without this bound. */
export interface ValueRange {
  readonly from: string;
  /** Not included. */
  readonly before: string;
}

/** What is known of a transaction when it is looked at. */
export interface Candidate {
  readonly kind: TransactionKind;
  readonly state: TransactionState;
  readonly currencyCode: string;
  readonly amountMinor: bigint;
  readonly description: string;
  readonly externalReference: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** All accounts that it touches, or would have touched. */
  readonly accountIds: readonly (Uuid | null)[];
}

/** Whether the transaction is looked for; the time apart, which is a place in the journal. */
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
  // Keys are the caller's own: a property that every object has is none of them.
  const value = Object.hasOwn(metadata, key) ? metadata[key] : undefined;
  return (
    value !== undefined && (values === null || values.includes(value)) && (range === null || isWithin(value, range))
  );
}

function isWithin(value: string, { from, before }: ValueRange): boolean {
  const bytes = Buffer.from(value);
  return bytes.compare(Buffer.from(from)) >= 0 && (before === "" || bytes.compare(Buffer.from(before)) < 0);
}
