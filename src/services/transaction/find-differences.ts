import { systemAccountId, type Uuid } from "../../base/ids.js";
import {
  isHoldStep,
  isMovement,
  type Command,
  type Leg,
  type MovementCommand,
  type RequestTerms,
} from "../../ledger/command/command.js";
import type { KindOf } from "../../ledger/command/kinds.js";
import type { LedgerTransaction } from "../../ledger/transaction/transaction.js";
import { findCallerDataDifferences } from "./caller-data.js";

/** Names the fields in which a request differs from the one that was answered under its id. */
export function findDifferences(command: Command, stored: LedgerTransaction | null): readonly string[] {
  if (stored === null || command.kind !== stored.kind) return ["method"];
  return [
    ...(isMovement(command)
      ? findMovementDifferences(command, stored)
      : findTermDifferences(command.requestTerms ?? {}, stored.requestTerms ?? {})),
    ...(command.kind === "COMPOUND" && !haveSameLegs(command.legs, stored.legs ?? []) ? ["legs"] : []),
    ...((command.kind === "COMPOUND" || command.kind === "EXCHANGE") && command.effectiveTime !== stored.effectiveTime
      ? ["effective_time"]
      : []),
    ...(isHoldStep(command) && command.holdId !== stored.holdId ? ["hold_id"] : []),
    ...(command.kind === "REVERSAL" && command.originalId !== stored.reversesId ? ["transaction_id"] : []),
    ...findCallerDataDifferences(command.data, stored.data),
  ];
}

function findTermDifferences(terms: RequestTerms, stored: RequestTerms): string[] {
  return [...new Set([...Object.keys(terms), ...Object.keys(stored)])].filter((name) => terms[name] !== stored[name]);
}

function findMovementDifferences(command: MovementCommand, stored: LedgerTransaction): string[] {
  const names = FIELD_NAMES[command.kind];
  const [terms, storedTerms] = [command.requestTerms ?? {}, stored.requestTerms ?? {}];
  return [
    ...(convertSystemAccount(command, command.debitAccountId, stored) === stored.debitAccountId ? [] : [names.debit]),
    ...(convertSystemAccount(command, command.creditAccountId, stored) === stored.creditAccountId
      ? []
      : [names.credit]),
    ...(command.currencyCode === stored.currencyCode ? [] : ["amount.currency_code"]),
    // A transaction that moved what was available has the requested amount among its terms.
    ...(command.amountMinor.toString() === (storedTerms["amount.minor_units"] ?? stored.amountMinor.toString())
      ? []
      : ["amount.minor_units"]),
    ...(terms.amount_mode === storedTerms.amount_mode ? [] : ["amount_mode"]),
    ...(terms.preconditions === storedTerms.preconditions ? [] : ["preconditions"]),
    ...(command.effectiveTime === stored.effectiveTime ? [] : ["effective_time"]),
  ];
}

/** Returns the account that the command would name in the stored currency: a system account's id depends on its currency. */
function convertSystemAccount({ system }: MovementCommand, accountId: Uuid, { currencyCode }: LedgerTransaction): Uuid {
  return system?.accountId === accountId ? systemAccountId(currencyCode, system.name) : accountId;
}

const FIELD_NAMES: Readonly<Record<KindOf<"MOVEMENT">, { readonly debit: string; readonly credit: string }>> = {
  OPENING: { debit: "system_account", credit: "wallet_id" },
  DEPOSIT: { debit: "system_account", credit: "wallet_id" },
  WITHDRAWAL: { debit: "wallet_id", credit: "system_account" },
  TRANSFER: { debit: "from_wallet_id", credit: "to_wallet_id" },
};

function haveSameLegs(a: readonly Leg[], b: readonly Leg[]): boolean {
  return (
    a.length === b.length &&
    a.every((leg, index) => {
      const other = b[index];
      return (
        leg.accountId === other?.accountId &&
        leg.currencyCode === other.currencyCode &&
        leg.amountMinor === other.amountMinor
      );
    })
  );
}
