import type { Failure } from "../../base/failure.js";
import { LEDGER_CALLER } from "../../base/ids.js";
import { requestKey, type Command } from "../command/command.js";
import type { StoredAnswer, StoredAnswers } from "../decide/unit.js";
import type { LedgerTransaction } from "../transaction/transaction.js";

/** The outcome of a command: its transaction, posted or rejected; or a refusal that leaves no trace. */
export type Outcome =
  { readonly transaction: LedgerTransaction; readonly replayed: boolean } | { readonly failure: Failure };

/**
 * Names the fields in which a request differs from the one that was answered under its id, as the contract calls them; none when
 * it is the same request. Stored is null for a request that made no transaction. The service that parses requests supplies it.
 */
export type FindDifferences = (command: Command, stored: LedgerTransaction | null) => readonly string[];

/** The outcome of a repeated request. */
export interface Replay extends StoredAnswer {
  readonly outcome: Outcome;
}

export const NO_REPLAYS: StoredAnswers<Replay> = { size: 0, get: () => undefined };

/** @param stored the transactions that earlier requests made, by requestKey(); null for a request that made none */
export function toReplays(
  stored: ReadonlyMap<string, LedgerTransaction | null>,
  findDifferences: FindDifferences,
): StoredAnswers<Replay> {
  return {
    size: stored.size,
    get: (command) => {
      const transaction = stored.get(requestKey(command));
      if (transaction === undefined) return undefined;
      const outcome = replay(command, transaction, findDifferences);
      return { outcome, failure: "failure" in outcome ? outcome.failure : outcome.transaction.failure };
    },
  };
}

/** Returns the outcome of a command whose request id was used before. */
export function replay(command: Command, stored: LedgerTransaction | null, findDifferences: FindDifferences): Outcome {
  // The ledger's own requests, such as an expiry, are the same by their ids.
  const isOwn = command.caller === LEDGER_CALLER && stored !== null;
  const differs = isOwn ? [] : findDifferences(command, stored);
  if (stored === null || differs.length > 0)
    return { failure: { reason: "REQUEST_ID_REUSED", requestId: command.requestId, differs } };
  // It may be the command's own transaction, when the reply to its commit was lost.
  return { transaction: stored, replayed: stored.id !== command.transactionId };
}
