import type { Failure } from "../../base/failure.js";
import { systemAccountId, type Uuid } from "../../base/ids.js";
import { requestKey } from "../transaction/rows.js";
import type { LedgerState } from "../account/books.js";
import { decide } from "../decide/decide.js";
import { createDraft } from "../decide/draft.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import type { RecordedDecision } from "../decide/movement.js";
import {
  isCompound,
  isHoldStep,
  isMovement,
  isReverse,
  type Command,
  type Leg,
  type LedgerTransaction,
  type Movement,
  type MovementCommand,
  type Terms,
} from "../transaction/transaction.js";

/** How the commands of one piece of work hang together. */
export type UnitMode = "INDEPENDENT" | "ATOMIC";

/** Commands that one caller sent together: they are decided in their order, in one database transaction. */
export type UnitOfWork =
  | { readonly commands: readonly Command[]; readonly mode: "INDEPENDENT" }
  | { readonly commands: readonly MovementCommand[]; readonly mode: "ATOMIC" };

/** What came of a command: its transaction, posted or rejected; or a refusal that leaves no trace. */
export type Outcome =
  { readonly transaction: LedgerTransaction; readonly replayed: boolean } | { readonly failure: Failure };

/** A command that was not answered before, and what becomes of it. */
export interface DecidedCommand {
  readonly command: Command;
  readonly decision: RecordedDecision;
}

/** What is to be done about a command: write what was decided, or give the answer that stands already. */
export type Verdict = DecidedCommand | { readonly outcome: Outcome };

/** The transactions that earlier requests made, by requestKey(); null for a request that made none. */
export type StoredAnswers = ReadonlyMap<string, LedgerTransaction | null>;

/**
 * Decides the commands of a piece of work, in their order, each seeing the effects of those before it.
 *
 * An ATOMIC work is posted as a whole or not at all: when one command is refused, now or by an answer that stands
 * already, the books are left as they were and every other new command is refused with BATCH_ABORTED.
 */
export function decideUnit(state: LedgerState, unit: UnitOfWork, answered: StoredAnswers): Verdict[] {
  if (unit.mode === "INDEPENDENT") return unit.commands.map((command) => decideCommand(state, command, answered));
  const { commands } = unit;
  const draft = createDraft(state);
  const verdicts: Verdict[] = [];
  for (const command of commands) {
    const verdict = decideCommand(draft, command, answered);
    verdicts.push(verdict);
    const failure = getFailure(verdict);
    if (failure !== undefined) return abortUnit(commands, verdicts, failure, answered);
  }
  draft.keep();
  return verdicts;
}

/** The answer to a request whose id was used before. */
export function answerReplay(command: Command, stored: LedgerTransaction | null): Outcome {
  const differs = stored === null ? ["method"] : findDifferences(command, stored);
  if (stored === null || differs.length > 0) {
    return { failure: { reason: "REQUEST_ID_REUSED", requestId: command.requestId, differs } };
  }
  // It may be the command's own, when the reply to its commit was lost.
  return { transaction: stored, replayed: stored.id !== command.transactionId };
}

function decideCommand(state: LedgerState, command: Command, answered: StoredAnswers): Verdict {
  const stored = answered.size === 0 ? undefined : answered.get(requestKey(command));
  if (stored !== undefined) return { outcome: answerReplay(command, stored) };
  const decision = decide(state, command);
  return "unkept" in decision ? { outcome: { failure: decision.unkept } } : { command, decision };
}

function getFailure(verdict: Verdict): Failure | undefined {
  if ("decision" in verdict) return "failure" in verdict.decision ? verdict.decision.failure : undefined;
  return "failure" in verdict.outcome ? verdict.outcome.failure : (verdict.outcome.transaction.failure ?? undefined);
}

/** The verdicts of an ATOMIC work whose latest verdict is a refusal. */
function abortUnit(
  commands: readonly MovementCommand[],
  verdicts: readonly Verdict[],
  failure: Failure,
  answered: StoredAnswers,
): Verdict[] {
  const culpritIndex = verdicts.length - 1;
  const aborted: Failure = { reason: "BATCH_ABORTED", culpritIndex, culpritReason: failure.reason };
  return commands.map((command, index) => {
    const verdict = verdicts[index];
    if (verdict !== undefined && (index === culpritIndex || "outcome" in verdict)) return verdict;
    const stored = answered.get(requestKey(command));
    return stored === undefined
      ? { command, decision: { movement: command, failure: aborted } }
      : { outcome: answerReplay(command, stored) };
  });
}

/** The contract's names of the fields in which a request differs from the one that was answered under its id. */
function findDifferences(command: Command, stored: LedgerTransaction): string[] {
  if (command.kind !== stored.kind) return ["method"];
  return [
    ...(isMovement(command)
      ? findDifferingFields(command, stored)
      : findDifferingTerms(command.terms ?? {}, stored.terms ?? {})),
    ...(command.kind === TRANSACTION_KIND.COMPOUND && !haveSameLegs(command.legs, stored.legs ?? []) ? ["legs"] : []),
    ...(isCompound(command) && command.effectiveTime !== stored.effectiveTime ? ["effective_time"] : []),
    ...(isHoldStep(command) && command.holdId !== stored.holdId ? ["hold_id"] : []),
    ...(isReverse(command) && command.originalId !== stored.reversesId ? ["transaction_id"] : []),
    ...(command.description === stored.description ? [] : ["description"]),
    ...(haveSameMetadata(command.metadata, stored.metadata) ? [] : ["metadata"]),
    ...(command.externalReference === stored.externalReference ? [] : ["external_reference"]),
  ];
}

/** Of what a request about holds or a reversal asks; terms have the contract's names. */
function findDifferingTerms(asked: Terms, stored: Terms): string[] {
  return [...new Set([...Object.keys(asked), ...Object.keys(stored)])].filter((name) => asked[name] !== stored[name]);
}

function findDifferingFields(command: MovementCommand, stored: Movement): string[] {
  const names = FIELD_NAMES[command.kind];
  return [
    ...(convertSystemAccount(command, command.debitAccountId, stored) === stored.debitAccountId ? [] : [names.debit]),
    ...(convertSystemAccount(command, command.creditAccountId, stored) === stored.creditAccountId
      ? []
      : [names.credit]),
    ...(command.currencyCode === stored.currencyCode ? [] : ["amount.currency_code"]),
    // Of one that moved what there was, what was asked for is among the terms.
    ...(command.amountMinor.toString() === (stored.terms?.["amount.minor_units"] ?? stored.amountMinor.toString())
      ? []
      : ["amount.minor_units"]),
    ...(command.terms?.amount_mode === stored.terms?.amount_mode ? [] : ["amount_mode"]),
    ...(command.terms?.preconditions === stored.terms?.preconditions ? [] : ["preconditions"]),
    ...(command.effectiveTime === stored.effectiveTime ? [] : ["effective_time"]),
  ];
}

/** The account that the command would name if it were in the stored one's currency, of which a system account's id is made. */
function convertSystemAccount({ system }: MovementCommand, accountId: Uuid, { currencyCode }: Movement): Uuid {
  return system?.accountId === accountId ? systemAccountId(currencyCode, system.name) : accountId;
}

// By the kind of a movement.
const FIELD_NAMES = {
  1: { debit: "system_account", credit: "wallet_id" },
  2: { debit: "system_account", credit: "wallet_id" },
  3: { debit: "wallet_id", credit: "system_account" },
  4: { debit: "from_wallet_id", credit: "to_wallet_id" },
} as const satisfies Record<MovementCommand["kind"], { debit: string; credit: string }>;

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

function haveSameMetadata(a: Movement["metadata"], b: Movement["metadata"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
