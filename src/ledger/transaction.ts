import type { Failure } from "../base/failure.js";
import type { Uuid } from "../base/ids.js";
import type { Micros } from "../base/time.js";
import type { TransactionKind } from "../entities/transaction.js";

/** One debit or credit, as it stands in the books. */
export interface Entry {
  readonly accountId: Uuid;
  /** Whether the account is a wallet's, not a system account. */
  readonly isWallet: boolean;
  /** The entry's number in its account, from 1. */
  readonly sequence: bigint;
  /** Minor units; a debit is positive, a credit negative. */
  readonly amountMinor: bigint;
  /** The account's balance after it, in minor units on the normal side. */
  readonly balanceAfterMinor: bigint;
}

/** A movement as it was asked for. */
export interface Movement {
  readonly kind: TransactionKind;
  readonly requestId: Uuid;
  readonly debitAccountId: Uuid;
  readonly creditAccountId: Uuid;
  readonly currencyCode: string;
  /** More than 0, in minor units. */
  readonly amountMinor: bigint;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** null when the caller gave none. */
  readonly effectiveTime: Micros | null;
}

/** A movement as it was recorded: posted with two entries, or rejected with a failure. */
export interface LedgerTransaction extends Movement {
  readonly id: Uuid;
  readonly journalIndex: bigint;
  readonly createTime: Micros;
  /** Debit first; empty when it was rejected. */
  readonly entries: readonly Entry[];
  /** Why it was rejected; null when it was posted. */
  readonly failure: Failure | null;
}

/** A movement and who asks for it. */
export interface Command extends Movement {
  readonly caller: Uuid;
  /** The id that its transaction will have. */
  readonly transactionId: Uuid;
  /** The system account among the two, if any, by the name that the caller knows it by. */
  readonly system: { readonly name: string; readonly accountId: Uuid } | null;
}
