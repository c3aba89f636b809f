import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import type { TRANSACTION_KIND, TransactionKind } from "../../base/codes.js";
import type { Hold } from "../decide/hold.js";

/** One row of an account's history, as it stands in the books: a debit, a credit, or a change of what is pending. */
export interface Entry {
  readonly accountId: Uuid;
  readonly currencyCode: string;
  /** Whether the account is a wallet's, not a system account. */
  readonly isWallet: boolean;
  /** The entry's number in its account, from 1. */
  readonly sequence: bigint;
  /** Minor units; a debit is positive, a credit negative; 0 when only what is pending changed. */
  readonly amountMinor: bigint;
  /** The account's balance after it, in minor units on the normal side. */
  readonly balanceAfterMinor: bigint;
  /** The account's pending sums after it. */
  readonly pendingDebitsAfterMinor: bigint;
  readonly pendingCreditsAfterMinor: bigint;
}

/** What was asked for beside the fields that every movement has, by the names of the contract. */
export type Terms = Readonly<Record<string, string>>;

/** What is kept of a request to move what there is, up to an amount. */
export function upToTerms(amountMinor: bigint): Terms {
  return { amount_mode: "UP_TO", "amount.minor_units": amountMinor.toString() };
}

/** A movement as it was asked for, or as a step of a hold comes to. */
export interface Movement {
  readonly kind: TransactionKind;
  readonly requestId: Uuid;
  readonly debitAccountId: Uuid;
  /** null for a step of a hold that is for nobody in particular. */
  readonly creditAccountId: Uuid | null;
  readonly currencyCode: string;
  /** Minor units, more than 0; of a step of a hold also 0. */
  readonly amountMinor: bigint;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** null when the caller gave none. */
  readonly effectiveTime: Micros | null;
  /** null for none. */
  readonly terms: Terms | null;
  /** The caller's own name for it; empty for none. */
  readonly externalReference: string;
  /**
   * All that moves, when that is more than one amount from one account to another; null else. The sides of the movement are
   * then those of the legs that it is known by, and the amount is what they come to.
   */
  readonly legs: readonly Leg[] | null;
  /** What was decided beside the entries, by names of its own; null for nothing. */
  readonly detail: Terms | null;
}

/** One debit or credit of a movement that has many. */
export interface Leg {
  readonly accountId: Uuid;
  readonly currencyCode: string;
  /** Minor units, not 0; a debit is positive, a credit negative. */
  readonly amountMinor: bigint;
}

/** A movement as it was recorded: posted with its entries, or rejected with a failure. */
export interface LedgerTransaction extends Movement {
  readonly id: Uuid;
  readonly journalIndex: bigint;
  readonly createTime: Micros;
  /** Debit first, or in the order of the legs; empty when it was rejected. */
  readonly entries: readonly Entry[];
  /** Why it was rejected; null when it was posted. */
  readonly failure: Failure | null;
  /** The hold that it is a step of. */
  readonly holdId: Uuid | null;
  /** The hold right after it; null when it was rejected or is no step of one. */
  readonly hold: Hold | null;
  /** The transaction that it reverses, or was to. */
  readonly reversesId: Uuid | null;
}

/** What was reversed of a transaction. */
export interface Reversed {
  readonly amountMinor: bigint;
  readonly count: number;
  /** The transactions that did it, or the latest of them, in the order of the journal. */
  readonly byIds: readonly Uuid[];
  /** Of one with legs: how much of the debits and of the credits of each account. */
  readonly legs: ReadonlyMap<string, bigint>;
}

/** Who asks, and what every request to move money has. */
interface CommandFields {
  readonly caller: Uuid;
  readonly requestId: Uuid;
  /** The id that its transaction will have. */
  readonly transactionId: Uuid;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly externalReference: string;
  /** What must hold for it to be posted. */
  readonly preconditions: readonly Precondition[];
}

/** What must hold of a wallet for a command to be posted; undefined: anything. Minor units. */
export interface Precondition {
  readonly walletId: Uuid;
  /** The account's sequence right before it. */
  readonly expectedVersion: bigint | undefined;
  /** Of what is available right after it. */
  readonly minBalanceAfter: bigint | undefined;
  /** Of what is posted and incoming right after it. */
  readonly maxBalanceAfter: bigint | undefined;
}

/** A system account by the name that the caller knows it by. */
export interface NamedAccount {
  readonly name: string;
  readonly accountId: Uuid;
}

/** Money that is to go from one account to another at once. */
export interface MovementCommand extends Movement, CommandFields {
  readonly kind: 1 | 2 | 3 | 4;
  readonly creditAccountId: Uuid;
  /** Whether it moves what is available, up to the amount. */
  readonly isUpTo: boolean;
  /** The system account among the two, if any. */
  readonly system: NamedAccount | null;
}

/** Money that is to move between many accounts at once, in one or several currencies, each of which sums to zero. */
export interface CompoundCommand extends Movement, CommandFields {
  readonly kind: 12 | 13;
  readonly creditAccountId: Uuid;
  readonly legs: readonly Leg[];
  /** The names of the system accounts among those of the legs. */
  readonly system: ReadonlyMap<Uuid, string>;
  /** Why it is refused whatever the books say: what it asks for could not be worked out. */
  readonly refusal: Failure | null;
  /** Until when it may be posted; null: at any time. */
  readonly validUntil: Micros | null;
}

/** When a hold is to expire: at a time, or so many microseconds after it is recorded. */
export type Expiry = { readonly at: Micros } | { readonly inMicros: bigint };

/** Money that is to be held. The hold has the transaction's id. */
export interface HoldCommand extends CommandFields {
  readonly kind: typeof TRANSACTION_KIND.HOLD;
  readonly walletId: Uuid;
  /** The wallet that it is held for, if any. */
  readonly toWalletId: Uuid | null;
  readonly currencyCode: string;
  readonly amountMinor: bigint;
  readonly expiry: Expiry;
  readonly terms: Terms;
}

/** What is to become of a hold. */
export interface HoldStepCommand extends CommandFields {
  readonly kind: 6 | 7 | 8 | 9 | 10;
  readonly holdId: Uuid;
  /** To increase it by, or to capture; null: all that is left. */
  readonly amount: { readonly currencyCode: string; readonly amountMinor: bigint } | null;
  /** Whether a capture releases what is left. */
  readonly isFinal: boolean;
  /** Where a capture goes, if the hold does not say; null: to `cash`. A wallet, or a system account by its name. */
  readonly to: { readonly walletId: Uuid } | { readonly systemAccount: string } | null;
  /** Of an extension. */
  readonly expiry: Expiry | null;
  readonly terms: Terms;
}

/** A movement that is to be undone, in full or in part, by its mirror. */
export interface ReverseCommand extends CommandFields {
  readonly kind: typeof TRANSACTION_KIND.REVERSAL;
  readonly originalId: Uuid;
  /** null: all that is not reversed yet. */
  readonly amount: { readonly currencyCode: string; readonly amountMinor: bigint } | null;
  /** Whether it takes effect when the original did. */
  readonly atEffectiveTimeOfOriginal: boolean;
  readonly terms: Terms;
}

export type Command = MovementCommand | HoldCommand | HoldStepCommand | ReverseCommand | CompoundCommand;

/** Whether the command is about a hold that there must be. */
export function isHoldStep(command: Command): command is HoldStepCommand {
  return command.kind > 5 && command.kind < 11;
}

export function isMovement(command: Command): command is MovementCommand {
  return command.kind < 5;
}

export function isCompound(command: Command): command is CompoundCommand {
  return command.kind > 11;
}

export function isReverse(command: Command): command is ReverseCommand {
  return command.kind === 11;
}

/** The accounts that the transaction touched, or was to touch; one may come twice. */
export function listAccounts({ debitAccountId, creditAccountId, legs }: LedgerTransaction): Uuid[] {
  return [
    debitAccountId,
    ...(creditAccountId === null ? [] : [creditAccountId]),
    ...(legs ?? []).map(({ accountId }) => accountId),
  ];
}
