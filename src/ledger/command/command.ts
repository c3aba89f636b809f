import type { Failure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { KINDS, type KindOf } from "./kinds.js";
import { fxAccountId } from "./system-account.js";

// Requests to the ledger, one type for each family of kinds. Amounts are minor units.

/** The caller's own data about a transaction, which the ledger stores and does not interpret. */
export interface CallerData {
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** The caller's own name for the transaction; empty for none. */
  readonly externalReference: string;
}

export const NO_CALLER_DATA: CallerData = { description: "", metadata: {}, externalReference: "" };

/** The fields of every command. */
export interface CommandFields {
  readonly caller: Uuid;
  readonly requestId: Uuid;
  /** The id that its transaction will have. */
  readonly transactionId: Uuid;
  readonly data: CallerData;
  /** Conditions that must hold for it to be posted. */
  readonly preconditions: readonly Precondition[];
  /** Parts of the request that its transaction does not show, stored with it; null for none. */
  readonly requestTerms: RequestTerms | null;
}

/** Parts of a request, named and read only by the service that parses it, which compares a repeated request with them. */
export type RequestTerms = Readonly<Record<string, string>>;

/** A condition on a wallet for a command to be posted; undefined: none. */
export interface Precondition {
  readonly walletId: Uuid;
  /** The account's sequence right before the transaction. */
  readonly expectedVersion: bigint | undefined;
  /** The least that must be available right after it. */
  readonly minBalanceAfter: bigint | undefined;
  /** The most that may be posted and incoming right after it. */
  readonly maxBalanceAfter: bigint | undefined;
}

export interface Amount {
  readonly currencyCode: string;
  readonly amountMinor: bigint;
}

/** A system account by the name that the caller knows it by. */
export interface NamedAccount {
  readonly name: string;
  readonly accountId: Uuid;
}

/** One debit or credit of a transaction that has many. */
export interface Leg {
  readonly accountId: Uuid;
  readonly currencyCode: string;
  /** Not 0; a debit is positive, a credit negative. */
  readonly amountMinor: bigint;
}

/** Moves money from one account, which it debits, to another. */
export interface MovementCommand extends CommandFields, Amount {
  readonly kind: KindOf<"MOVEMENT">;
  readonly debitAccountId: Uuid;
  readonly creditAccountId: Uuid;
  /** The system account among the two, if any. */
  readonly system: NamedAccount | null;
  /** True to move what is available, up to the amount. */
  readonly isUpTo: boolean;
  /** null when the caller gave none. */
  readonly effectiveTime: Micros | null;
}

/** Moves money between many accounts, in one or several currencies, of which each sums to zero. */
export interface CompoundCommand extends CommandFields {
  readonly kind: KindOf<"COMPOUND">;
  readonly legs: readonly Leg[];
  /** The names of the system accounts among those of the legs. */
  readonly system: ReadonlyMap<Uuid, string>;
  readonly effectiveTime: Micros | null;
}

/** Moves money from a wallet into a wallet of another currency, through the `fx` account of each currency. */
export interface ExchangeCommand extends CommandFields {
  readonly kind: KindOf<"EXCHANGE">;
  readonly fromWalletId: Uuid;
  readonly toWalletId: Uuid;
  /** Both amounts; or why they could not be worked out, with what the caller gave of the source. */
  readonly exchange: Exchange | { readonly refusal: Failure; readonly source: Amount };
  /** The time until which it may be posted, by its quote; null: at any time. */
  readonly validUntil: Micros | null;
  readonly effectiveTime: Micros | null;
}

/** Both amounts of an exchange and how they follow from each other. */
export interface Exchange {
  readonly source: Amount;
  readonly target: Amount;
  /** Whole units of the target's currency for one of the source's, a decimal number; null when both amounts were given. */
  readonly rate: string | null;
  /** null without a rate. */
  readonly rounding: Rounding | null;
  /** The rate of the table that was used; null when the caller gave the rate. */
  readonly rateId: Uuid | null;
}

/** The rounding of an amount between two minor units; the names are those of grey.transaction.v1.Rounding. */
export type Rounding = "HALF_EVEN" | "HALF_UP" | "DOWN" | "UP";

/** The time at which a hold expires: a time, or so many microseconds after it is recorded. */
export type Expiry = { readonly at: Micros } | { readonly inMicros: bigint };

/** Holds money of a wallet. The hold has the transaction's id. */
export interface HoldCommand extends CommandFields, Amount {
  readonly kind: KindOf<"HOLD">;
  readonly walletId: Uuid;
  /** The wallet that it is held for, if any. */
  readonly toWalletId: Uuid | null;
  readonly expiry: Expiry;
}

/** Changes or ends a hold. */
export type HoldStepCommand =
  IncreaseHoldCommand | ExtendHoldCommand | CaptureHoldCommand | ReleaseHoldCommand | ExpireHoldCommand;

interface HoldStepFields extends CommandFields {
  readonly holdId: Uuid;
}

export interface IncreaseHoldCommand extends HoldStepFields {
  readonly kind: "HOLD_INCREASE";
  readonly amount: Amount;
}

export interface ExtendHoldCommand extends HoldStepFields {
  readonly kind: "HOLD_EXTENSION";
  readonly expiry: Expiry;
}

export interface CaptureHoldCommand extends HoldStepFields {
  readonly kind: "HOLD_CAPTURE";
  /** null: all that is left. */
  readonly amount: Amount | null;
  /** True to release what is left. */
  readonly isFinal: boolean;
  /** The destination, if the hold has none: a wallet, or a system account by its name; null: `cash`. */
  readonly to: { readonly walletId: Uuid } | { readonly systemAccount: string } | null;
}

export interface ReleaseHoldCommand extends HoldStepFields {
  readonly kind: "HOLD_RELEASE";
}

export interface ExpireHoldCommand extends HoldStepFields {
  readonly kind: "HOLD_EXPIRY";
}

/** Moves money back, in full or in part: the mirror of a transaction. */
export interface ReverseCommand extends CommandFields {
  readonly kind: KindOf<"REVERSAL">;
  readonly originalId: Uuid;
  /** null: all that is not reversed yet. */
  readonly amount: Amount | null;
  /** True to take effect when the original did. */
  readonly atEffectiveTimeOfOriginal: boolean;
}

export type Command =
  MovementCommand | CompoundCommand | ExchangeCommand | HoldCommand | HoldStepCommand | ReverseCommand;

/** Commands of one caller that are decided in their order, in one database transaction. */
export type UnitOfWork =
  | { readonly mode: "INDEPENDENT"; readonly commands: readonly Command[] }
  /** Posted as a whole or not at all. */
  | { readonly mode: "ATOMIC"; readonly commands: readonly MovementCommand[] };

export function isMovement(command: Command): command is MovementCommand {
  return KINDS[command.kind].family === "MOVEMENT";
}

export function isHoldStep(command: Command): command is HoldStepCommand {
  return KINDS[command.kind].family === "HOLD_STEP";
}

/** One text for what names a request. */
export function requestKey({ caller, requestId }: { readonly caller: Uuid; readonly requestId: Uuid }): string {
  return `${caller}/${requestId}`;
}

/** Adds the accounts that the command names itself to the ids. Those of a hold or an original are found there. */
export function addNamedAccounts(ids: Set<Uuid>, command: Command): void {
  for (const { walletId } of command.preconditions) ids.add(walletId);
  switch (command.kind) {
    case "OPENING":
    case "DEPOSIT":
    case "WITHDRAWAL":
    case "TRANSFER":
      ids.add(command.debitAccountId).add(command.creditAccountId);
      return;
    case "HOLD":
      ids.add(command.walletId);
      if (command.toWalletId !== null) ids.add(command.toWalletId);
      return;
    case "COMPOUND":
      for (const { accountId } of command.legs) ids.add(accountId);
      return;
    case "EXCHANGE":
      ids.add(command.fromWalletId).add(command.toWalletId);
      if ("target" in command.exchange)
        for (const { currencyCode } of [command.exchange.source, command.exchange.target])
          ids.add(fxAccountId(currencyCode));
      return;
    case "HOLD_INCREASE":
    case "HOLD_EXTENSION":
    case "HOLD_CAPTURE":
    case "HOLD_RELEASE":
    case "HOLD_EXPIRY":
    case "REVERSAL":
      return;
  }
}
