import { assertPresent } from "../../base/assert.js";
import { FailureError, type FailureDetails } from "../../base/failure.js";
import type { Database } from "../../db/database.js";
import { readSnapshot } from "../../db/in-transaction.js";
import type { Engine } from "../../ledger/post/engine.js";
import { tryUnit } from "../../ledger/post/post-units.js";
import type { Command, LedgerTransaction } from "../../ledger/transaction/transaction.js";
import type { Outcome, UnitOfWork } from "../../ledger/command/work.js";
import type { CallContext } from "../../rpc/context.js";
import { assertEffective, isDated, type EffectiveWindow } from "./effective-window.js";
import { toBalancesAfter, toTransactionMessage } from "../shared/messages.js";

/** What a call that moves money is answered from. */
export interface Posting {
  readonly engine: Engine;
  readonly database: Database;
  readonly window: EffectiveWindow;
}

/**
 * Posts a piece of work, or only tries it out.
 * @param fieldOf the field that holds the effective time of the command at this place
 */
export function postUnit(
  posting: Posting,
  context: CallContext,
  unit: UnitOfWork,
  isDry: boolean,
  fieldOf: (index: number) => string = () => "effective_time",
): Promise<Outcome[]> {
  if (!unit.commands.some(isDated)) return post(posting, context, unit, isDry);
  return assertEffective(posting, context, unit.commands, fieldOf).then(() => post(posting, context, unit, isDry));
}

function post(
  { engine, database }: Posting,
  context: CallContext,
  unit: UnitOfWork,
  isDry: boolean,
): Promise<Outcome[]> {
  return isDry
    ? readSnapshot(database, context, async ({ client }) => (await tryUnit(client, unit)).map(withoutPlace))
    : engine.post(unit, context);
}

/** Posts one command, or only tries it out. A refusal leaves as its failure and names the transaction that keeps it. */
export async function postOne(posting: Posting, context: CallContext, command: Command, isDry: boolean) {
  const outcomes = await postUnit(posting, context, { commands: [command], mode: "INDEPENDENT" }, isDry);
  const outcome = assertPresent(outcomes[0], "an outcome");
  if ("failure" in outcome) throw new FailureError(outcome.failure);
  const { transaction, replayed } = outcome;
  if (transaction.failure !== null) throw new FailureError(transaction.failure, toFailureDetails(outcome));
  const answer = { transaction: toTransactionMessage(transaction), balances: toBalancesAfter(transaction), replayed };
  return { answer, transaction };
}

/** What keeps a refusal; nothing does when it was only tried out. */
export function toFailureDetails({ transaction: { id, journalIndex }, replayed }: RecordedOutcome): FailureDetails {
  return id === "" ? {} : { replayed, transactionId: id, journalIndex };
}

type RecordedOutcome = Extract<Outcome, { transaction: LedgerTransaction }>;

/** What is only tried out has no id and no place in the journal. */
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
