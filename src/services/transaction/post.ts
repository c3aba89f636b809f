import { assertPresent } from "../../base/assert.js";
import { FailureError, type FailureDetails } from "../../base/failure.js";
import type { Database } from "../../db/database.js";
import { readSnapshot } from "../../db/in-transaction.js";
import type { Command, UnitOfWork } from "../../ledger/command/command.js";
import type { Engine } from "../../ledger/post/engine.js";
import type { Outcome } from "../../ledger/post/outcome.js";
import { tryUnit } from "../../ledger/post/turn.js";
import type { LedgerTransaction } from "../../ledger/transaction/transaction.js";
import type { CallContext } from "../../rpc/context.js";
import { toBalancesAfter, toTransactionMessage } from "../shared/messages.js";
import { assertEffective, isDated, type EffectiveWindow } from "./effective-window.js";
import { findDifferences } from "./find-differences.js";

/** The parts that the methods which post transactions are created from. */
export interface PostingParts {
  readonly engine: Engine;
  readonly database: Database;
  readonly window: EffectiveWindow;
}

/**
 * Posts a unit of work, or only tries it out.
 * @param getField returns the field that holds the effective time of the command at this index
 */
export function submitUnit(
  posting: PostingParts,
  context: CallContext,
  unit: UnitOfWork,
  isDry: boolean,
  getField: (index: number) => string = () => "effective_time",
): Promise<Outcome[]> {
  if (!unit.commands.some(isDated)) return post(posting, context, unit, isDry);
  return assertEffective(posting, context, unit.commands, getField).then(() => post(posting, context, unit, isDry));
}

function post(
  { engine, database }: PostingParts,
  context: CallContext,
  unit: UnitOfWork,
  isDry: boolean,
): Promise<Outcome[]> {
  return isDry
    ? readSnapshot(database, context, async ({ client }) =>
        (await tryUnit(client, unit, findDifferences)).map(withoutPlace),
      )
    : engine.post(unit, context);
}

/** Posts one command, or only tries it out. Throws a refusal as its failure, which names the rejected transaction. */
export async function postOne(posting: PostingParts, context: CallContext, command: Command, isDry: boolean) {
  const outcomes = await submitUnit(posting, context, { commands: [command], mode: "INDEPENDENT" }, isDry);
  const outcome = assertPresent(outcomes[0], "an outcome");
  if ("failure" in outcome) throw new FailureError(outcome.failure);
  const { transaction, replayed } = outcome;
  if (transaction.failure !== null) throw new FailureError(transaction.failure, toFailureDetails(outcome));
  const answer = { transaction: toTransactionMessage(transaction), balances: toBalancesAfter(transaction), replayed };
  return { answer, transaction };
}

/** Returns the details of a refusal: its rejected transaction, unless it was only tried out. */
export function toFailureDetails({ transaction: { id, journalIndex }, replayed }: RecordedOutcome): FailureDetails {
  return id === "" ? {} : { replayed, transactionId: id, journalIndex };
}

type RecordedOutcome = Extract<Outcome, { transaction: LedgerTransaction }>;

/** Removes the id and the place in the journal, which a dry run does not have. */
function withoutPlace(outcome: Outcome): Outcome {
  if ("failure" in outcome || outcome.replayed) return outcome;
  const { transaction } = outcome;
  const { id, hold } = transaction;
  const isNewHold = hold?.id === id;
  return {
    replayed: false,
    transaction: {
      ...transaction,
      id: "",
      journalIndex: 0n,
      holdId: isNewHold ? "" : transaction.holdId,
      hold: hold !== null && isNewHold ? { ...hold, id: "" } : hold,
    },
  };
}
