import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { Entry } from "../account/entry.js";
import type { CommandFields } from "../command/command.js";
import type { Movement } from "../decide/decision.js";
import type { Hold } from "../decide/hold.js";

/** A transaction as it was recorded: posted with its entries, or rejected with a failure. */
export interface LedgerTransaction extends Movement, Pick<CommandFields, "requestId" | "data" | "requestTerms"> {
  readonly id: Uuid;
  readonly journalIndex: bigint;
  readonly createTime: Micros;
  /** The debit first, or in the order of the legs; empty when it was rejected. */
  readonly entries: readonly Entry[];
  /** The reason of a rejection; null when it was posted. */
  readonly failure: Failure | null;
  /** The hold that it is a step of. */
  readonly holdId: Uuid | null;
  /** The hold right after it; null when it was rejected or is no step of one. */
  readonly hold: Hold | null;
  /** The transaction that it reverses, or was to reverse. */
  readonly reversesId: Uuid | null;
}

/** The reversals of a transaction. */
export interface ReversalSummary {
  /** Minor units. */
  readonly amountMinor: bigint;
  readonly count: number;
  /** The reversals, or the latest of them, in the order of the journal. */
  readonly byIds: readonly Uuid[];
  /** The reversed debits and credits of each account, for a transaction with legs. */
  readonly legs: ReadonlyMap<string, bigint>;
}

/** Returns the accounts that the transaction touched, or was to touch; one may come twice. */
export function listAccounts({ debitAccountId, creditAccountId, legs }: LedgerTransaction): Uuid[] {
  return [
    debitAccountId,
    ...(creditAccountId === null ? [] : [creditAccountId]),
    ...(legs ?? []).map(({ accountId }) => accountId),
  ];
}
