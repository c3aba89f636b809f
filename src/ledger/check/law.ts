import type { Scope } from "./scope.js";

/** The number of rows of each kind in a scope. */
export interface RowCounts {
  readonly accounts: bigint;
  readonly transactions: bigint;
  readonly entries: bigint;
  readonly records: bigint;
}

/** A law of the ledger. */
export interface Law {
  /** The rows that it mostly reads, by which a check measures its progress. */
  readonly reads: readonly (keyof RowCounts)[];
  /** Returns the query for what breaks the law in the scope: `subject`, as the contract has it, and `detail`, for people. */
  readonly findBreaches: (scope: Scope) => string;
}
