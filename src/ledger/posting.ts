import { present } from "../base/assert.js";
import type { Uuid } from "../base/ids.js";
import type { Queryable } from "../db/database.js";
import { awaitReplicas } from "../db/transaction.js";
import { lockBooks } from "./books.js";
import { openBatch, transactionsOf, writeBatch, type Batch, type Recorded, type WriteOptions } from "./batch.js";
import { findAnswered } from "./find.js";
import { decideWork, type Answered, type Decided, type Outcome, type Verdict, type Work } from "./work.js";

/**
 * Posts pieces of work, in their order, in the caller's database transaction; nothing counts until that commits.
 *
 *   lock     the accounts of all commands, in id order
 *   look up  the request ids: those that were used before are answered from what they made
 *   decide   each command in memory, with the pure rules
 *   write    transactions, entries, balances, requests and journal records, each with one set-based statement
 *
 * Fails with unique_violation of requests_pkey when a concurrent transaction used a request id; trying again answers it.
 * @returns for each work an outcome for each of its commands
 */
export async function postWorks(
  client: Queryable,
  works: readonly Work[],
  options: WriteOptions = {},
): Promise<Outcome[][]> {
  const books = await lockBooks(client, accountIdsOf(works));
  const commands = works.flatMap((work) => work.commands);
  const answered = options.claims === false ? new Map() : await findAnswered(client, commands);
  const batch = openBatch(books);
  const verdicts = decideWorks(batch, works, answered);
  const decided = decidedOf(verdicts);
  if (decided.length === 0) {
    await awaitReplicas(client);
    return outcomesOf(verdicts, NOTHING);
  }
  return outcomesOf(verdicts, await writeBatch(client, batch, decided, options));
}

/** Decides all works. No two of their commands have the same request id: the engine keeps copies apart. */
export function decideWorks(batch: Batch, works: readonly Work[], answered: Answered): Verdict[][] {
  return works.map((work) => decideWork(batch, work, answered));
}

/** What of the verdicts is to be written, in order. */
export function decidedOf(verdicts: readonly (readonly Verdict[])[]): Decided[] {
  return verdicts.flat().filter((verdict): verdict is Decided => "decision" in verdict);
}

/** The answers to all commands once what was decided is recorded. */
export function outcomesOf(verdicts: readonly (readonly Verdict[])[], recorded: Recorded): Outcome[][] {
  const transactions = transactionsOf(decidedOf(verdicts), recorded);
  let next = 0;
  return verdicts.map((ofWork) =>
    ofWork.map((verdict) => {
      if ("outcome" in verdict) return verdict.outcome;
      const transaction = present(transactions[next], "a recorded transaction");
      next += 1;
      return { transaction, replayed: false };
    }),
  );
}

/** The accounts that the works speak of. */
export function accountIdsOf(works: readonly Work[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of works) {
    for (const { debitAccountId, creditAccountId } of commands) ids.add(debitAccountId).add(creditAccountId);
  }
  return ids;
}

const NOTHING: Recorded = { firstIndex: 0n, createTime: 0n };
