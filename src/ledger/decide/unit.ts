import type { Failure } from "../../base/failure.js";
import type { Command, MovementCommand, UnitOfWork } from "../command/command.js";
import { decide } from "./decide.js";
import type { DecidedCommand } from "./decision.js";
import { toMovement } from "./movement.js";
import { createDraft, type LedgerState } from "./state.js";

/** The answer to a request that was answered before; its failure is null when it was posted. */
export interface StoredAnswer {
  readonly failure: Failure | null;
}

/** The verdict on a command: a decision that is recorded, the stored answer, or a refusal without a trace. */
export type Verdict<Answer extends StoredAnswer> =
  DecidedCommand | { readonly answer: Answer } | { readonly unrecorded: Failure };

/** The answers to requests that were answered before. */
export interface StoredAnswers<Answer extends StoredAnswer> {
  readonly size: number;
  get(command: Command): Answer | undefined;
}

/**
 * Decides the commands of a unit of work, in their order, each with the effects of those before it.
 *
 * An ATOMIC unit is posted as a whole or not at all: when one command is refused, now or by its stored answer, the state stays
 * as it was and every other new command is refused with BATCH_ABORTED.
 */
export function decideUnit<Answer extends StoredAnswer>(
  state: LedgerState,
  unit: UnitOfWork,
  answers: StoredAnswers<Answer>,
): Verdict<Answer>[] {
  if (unit.mode === "INDEPENDENT") return unit.commands.map((command) => decideCommand(state, command, answers));
  const { commands } = unit;
  const draft = createDraft(state);
  const verdicts: Verdict<Answer>[] = [];
  for (const command of commands) {
    const verdict = decideCommand(draft, command, answers);
    verdicts.push(verdict);
    const failure = getFailure(verdict);
    if (failure !== null) return abortUnit(commands, verdicts, failure, answers);
  }
  draft.apply();
  return verdicts;
}

function decideCommand<Answer extends StoredAnswer>(
  state: LedgerState,
  command: Command,
  answers: StoredAnswers<Answer>,
): Verdict<Answer> {
  const answer = answers.size === 0 ? undefined : answers.get(command);
  if (answer !== undefined) return { answer };
  const decision = decide(state, command);
  return "unrecorded" in decision ? decision : { command, decision };
}

function getFailure(verdict: Verdict<StoredAnswer>): Failure | null {
  if ("unrecorded" in verdict) return verdict.unrecorded;
  if ("answer" in verdict) return verdict.answer.failure;
  return "failure" in verdict.decision ? verdict.decision.failure : null;
}

/** Returns the verdicts of an ATOMIC unit whose latest verdict is a refusal. */
function abortUnit<Answer extends StoredAnswer>(
  commands: readonly MovementCommand[],
  verdicts: readonly Verdict<Answer>[],
  failure: Failure,
  answers: StoredAnswers<Answer>,
): Verdict<Answer>[] {
  const culpritIndex = verdicts.length - 1;
  const aborted: Failure = { reason: "BATCH_ABORTED", culpritIndex, culpritReason: failure.reason };
  return commands.map((command, index) => {
    const verdict = verdicts[index];
    if (verdict !== undefined && (index === culpritIndex || !("decision" in verdict))) return verdict;
    const answer = answers.get(command);
    return answer === undefined
      ? { command, decision: { movement: toMovement(command), failure: aborted } }
      : { answer };
  });
}
