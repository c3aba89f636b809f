import type { TransactionKind } from "../../base/codes.js";
import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { Entry } from "../account/entry.js";
import type { Command, Exchange, Leg } from "../command/command.js";
import type { Hold } from "./hold.js";

/** The money that a command moves, or was to move, as its transaction records it. */
export interface Movement {
  readonly kind: TransactionKind;
  readonly debitAccountId: Uuid;
  /** null for a step of a hold that has no destination. */
  readonly creditAccountId: Uuid | null;
  readonly currencyCode: string;
  /** Minor units, more than 0; of a step of a hold also 0. */
  readonly amountMinor: bigint;
  /** null when the caller gave none. */
  readonly effectiveTime: Micros | null;
  /**
   * All debits and credits, when there are more than one of each; null otherwise. The accounts of the movement are then those of its
   * first debit and first credit, and the amount is the sum of the debits in the currency of the first leg.
   */
  readonly legs: readonly Leg[] | null;
  /** The amounts and the rate of an exchange; null for other kinds. */
  readonly exchange: Exchange | null;
}

/** The decision on a command: it is recorded, or refused without a trace, so that its request id stays free. */
export type Decision = RecordedDecision | { readonly unrecorded: Failure };

/** A decision that is recorded: posted, or rejected with a failure. */
export type RecordedDecision = Posted | Rejected;

export interface Posted {
  readonly movement: Movement;
  /** The debit first, or in the order of the legs. */
  readonly entries: readonly Entry[];
  /** The hold as this step leaves it; null for kinds that are no steps of one. */
  readonly hold: Hold | null;
}

export interface Rejected {
  readonly movement: Movement;
  readonly failure: Failure;
}

/** A command with its decision. */
export interface DecidedCommand {
  readonly command: Command;
  readonly decision: RecordedDecision;
}
