import { TRANSACTION_KIND } from "../entities/transaction.js";
import type { Books } from "./books.js";
import { decideHold, decideHoldStep } from "./hold-rules.js";
import { decideMovement, type Decision } from "./rules.js";
import { decideReverse } from "./reverse-rules.js";
import { isHoldStep, isReverse, type Command } from "./transaction.js";

/** Decides one command against the books and, when it is posted, changes them. A refusal changes nothing. */
export function decide(books: Books, command: Command): Decision {
  if (isHoldStep(command)) return decideHoldStep(books, command);
  if (isReverse(command)) return decideReverse(books, command);
  return command.kind === TRANSACTION_KIND.HOLD ? decideHold(books, command) : decideMovement(books, command);
}
