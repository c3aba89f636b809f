import type { Command } from "../command/command.js";
import { decideCompound } from "./compound.js";
import type { Decision } from "./decision.js";
import { decideExchange } from "./exchange.js";
import { decideHold } from "./new-hold.js";
import { decideHoldStep } from "./hold-steps.js";
import { decideMovement } from "./movement.js";
import { checkPrecondition } from "./precondition.js";
import { decideReversal } from "./reversal.js";
import { createDraft, type LedgerState } from "./state.js";

/**
 * Decides one command and, when it is posted, changes the state. A refusal changes nothing. Preconditions are checked last:
 * a command that breaks another rule is refused for that.
 */
export function decide(state: LedgerState, command: Command): Decision {
  if (command.preconditions.length === 0) return decideByKind(state, command);
  const draft = createDraft(state);
  const decision = decideByKind(draft, command);
  if (!("entries" in decision)) return decision;
  for (const precondition of command.preconditions) {
    const failure = checkPrecondition(state, draft, precondition);
    if (failure !== undefined) return { movement: decision.movement, failure };
  }
  draft.apply();
  return decision;
}

function decideByKind(state: LedgerState, command: Command): Decision {
  switch (command.kind) {
    case "OPENING":
    case "DEPOSIT":
    case "WITHDRAWAL":
    case "TRANSFER":
      return decideMovement(state, command);
    case "HOLD":
      return decideHold(state, command);
    case "HOLD_INCREASE":
    case "HOLD_EXTENSION":
    case "HOLD_CAPTURE":
    case "HOLD_RELEASE":
    case "HOLD_EXPIRY":
      return decideHoldStep(state, command);
    case "REVERSAL":
      return decideReversal(state, command);
    case "COMPOUND":
      return decideCompound(state, command);
    case "EXCHANGE":
      return decideExchange(state, command);
  }
}
