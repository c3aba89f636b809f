import { present } from "../../base/assert.js";
import { FailureError, type FailureDetails } from "../../base/failure.js";
import type { Database } from "../../db/database.js";
import { readingSnapshot } from "../../db/transaction.js";
import type { Engine } from "../../ledger/post/engine.js";
import { tryWork } from "../../ledger/post/posting.js";
import type { Command, LedgerTransaction } from "../../ledger/transaction/transaction.js";
import type { Outcome, Work } from "../../ledger/command/work.js";
import type { CallContext } from "../../rpc/context.js";
import { assertEffective, isDated, type EffectiveWindow } from "./effective-window.js";
import { balancesAfter, presentTransaction } from "../shared/present.js";

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
export function postWork(
  posting: Posting,
  context: CallContext,
  work: Work,
  isDry: boolean,
  fieldOf: (index: number) => string = () => "effective_time",
): Promise<Outcome[]> {
  if (!work.commands.some(isDated)) return post(posting, context, work, isDry);
  return assertEffective(posting, context, work.commands, fieldOf).then(() => post(posting, context, work, isDry));
}

function post({ engine, database }: Posting, context: CallContext, work: Work, isDry: boolean): Promise<Outcome[]> {
  return isDry
    ? readingSnapshot(database, context, async ({ client }) => (await tryWork(client, work)).map(withoutPlace))
    : engine.post(work, context);
}

/** Posts one command, or only tries it out. A refusal leaves as its failure and names the transaction that keeps it. */
export async function postOne(posting: Posting, context: CallContext, command: Command, isDry: boolean) {
  const outcomes = await postWork(posting, context, { commands: [command], mode: "INDEPENDENT" }, isDry);
  const outcome = present(outcomes[0], "an outcome");
  if ("failure" in outcome) throw new FailureError(outcome.failure);
  const { transaction, replayed } = outcome;
  if (transaction.failure !== null) throw new FailureError(transaction.failure, keptBy(outcome));
  const answer = { transaction: presentTransaction(transaction), balances: balancesAfter(transaction), replayed };
  return { answer, transaction };
}

/** What keeps a refusal; nothing does when it was only tried out. */
export function keptBy({ transaction: { id, journalIndex }, replayed }: Made): FailureDetails {
  return id === "" ? {} : { replayed, transactionId: id, journalIndex };
}

type Made = Extract<Outcome, { transaction: LedgerTransaction }>;

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
