import { present } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { readClock } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { awaitReplicas } from "../../db/transaction.js";
import { lockBooks, readBooks, type ReadBook } from "../account/books.js";
import { openBatch, transactionsOf, writeBatch, type Batch, type Recorded, type WriteOptions } from "./batch.js";
import { TRANSACTION_KIND } from "../../entities/transaction.js";
import { findAnswered, findTransactions } from "../transaction/rows.js";
import { findReversed, originalOf } from "../transaction/reversed.js";
import { readHolds } from "../hold/rows.js";
import { accountsOf } from "../decide/hold-rules.js";
import type { Hold } from "../decide/hold.js";
import {
  accountsTouchedBy,
  isCompound,
  isHoldStep,
  isMovement,
  isReverse,
  type Command,
} from "../transaction/transaction.js";
import { decideWork, type Answered, type Decided, type Outcome, type Verdict, type Work } from "../command/work.js";

/**
 * Posts pieces of work, in their order, in the caller's database transaction; nothing counts until that commits.
 *
 *   lock     the accounts of all commands and of the holds that they name, in id order
 *   look up  the request ids: those that were used before are answered from what they made
 *   decide   each command in memory, with the pure rules
 *   write    transactions, entries, balances, holds, requests and journal records, each with one set-based statement
 *
 * Fails with unique_violation of requests_pkey when a concurrent transaction used a request id; trying again answers it.
 * @returns for each work an outcome for each of its commands
 */
export async function postWorks(
  client: Queryable,
  works: readonly Work[],
  options: WriteOptions = {},
): Promise<Outcome[][]> {
  const { batch, answered } = await openWorks(client, works, lockBooks, options.claims !== false);
  const verdicts = decideWorks(batch, works, answered);
  const decided = decidedOf(verdicts);
  if (decided.length === 0) {
    await awaitReplicas(client);
    return outcomesOf(verdicts, decided, NOTHING);
  }
  return outcomesOf(verdicts, decided, await writeBatch(client, batch, decided, options));
}

/**
 * Decides a piece of work on the books as they are, and writes nothing: it tells what would come of the work now.
 * @param client inside a transaction that sees one snapshot
 */
export async function tryWork(client: Queryable, work: Work): Promise<Outcome[]> {
  const { batch, answered } = await openWorks(client, [work], readBooks, true);
  const verdicts = decideWorks(batch, [work], answered);
  const [outcomes] = outcomesOf(verdicts, decidedOf(verdicts), {
    firstIndex: 0n,
    createTime: await readClock(client),
  });
  return present(outcomes, "the outcomes of a work");
}

/** What the works are decided from: accounts, holds and transactions that they speak of, and what was answered before. */
async function openWorks(
  client: Queryable,
  works: readonly Work[],
  readAccounts: typeof readBooks,
  looksUp: boolean,
): Promise<{ batch: Batch; answered: Answered }> {
  const holdIds = holdIdsOf(works);
  const named = holdIds.size === 0 ? [] : await readHolds(client, holdIds);
  const holdOf = new Map(named.map(({ hold }) => [hold.id, hold]));
  const originals = await findTransactions(client, [...originalIdsOf(works)]);
  const books = await readAccounts(client, [
    ...accountIdsOf(works, holdOf),
    ...[...originals.values()].flatMap(accountsTouchedBy),
  ]);
  const commands = works.flatMap((work) => work.commands);
  const answered = looksUp ? await findAnswered(client, commands) : NOTHING_ANSWERED;
  // The accounts of a hold are locked and never change, so now the hold does not either.
  const holds = holdIds.size === 0 ? [] : await readHolds(client, holdIds);
  // The same holds of what was reversed: whoever reverses locks the accounts of the original.
  const reversed = await findReversed(client, [...originals.keys()], 0);
  const batch = openBatch(
    books,
    holds,
    needsClock(works, books) ? await readClock(client) : 0n,
    [...originals.values()].map((transaction) => originalOf(transaction, reversed.get(transaction.id))),
  );
  return { batch, answered };
}

const NOTHING_ANSWERED: Answered = new Map();

/** Decides all works. No two of their commands have the same request id: the engine keeps copies apart. */
export function decideWorks(batch: Batch, works: readonly Work[], answered: Answered): Verdict[][] {
  return works.map((work) => decideWork(batch, work, answered));
}

/** What of the verdicts is to be written, in order. */
export function decidedOf(verdicts: readonly (readonly Verdict[])[]): Decided[] {
  return verdicts.flat().filter((verdict): verdict is Decided => "decision" in verdict);
}

/**
 * The answers to all commands once what was decided is recorded.
 * @param decided decidedOf() the verdicts
 */
export function outcomesOf(
  verdicts: readonly (readonly Verdict[])[],
  decided: readonly Decided[],
  recorded: Recorded,
): Outcome[][] {
  const transactions = transactionsOf(decided, recorded);
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

/** The accounts that the works speak of, themselves or through the holds that they name and that are known. */
export function accountIdsOf(works: readonly Work[], holds: { get(id: Uuid): Hold | undefined }): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of works) {
    for (const command of commands) {
      for (const { walletId } of command.preconditions) ids.add(walletId);
      if (isMovement(command)) {
        ids.add(command.debitAccountId).add(command.creditAccountId);
      } else if (isHoldStep(command)) {
        const hold = holds.get(command.holdId);
        if (hold !== undefined) for (const id of accountsOf(hold, command)) ids.add(id);
      } else if (isCompound(command)) {
        ids.add(command.debitAccountId).add(command.creditAccountId);
        for (const { accountId } of command.legs) ids.add(accountId);
      } else if (command.kind === TRANSACTION_KIND.HOLD) {
        ids.add(command.walletId);
        if (command.toWalletId !== null) ids.add(command.toWalletId);
      }
      // The accounts of a reversal are those of its original, which is looked up.
    }
  }
  return ids;
}

/** The holds that the works name. */
export function holdIdsOf(works: readonly Work[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of works) for (const command of commands) if (isHoldStep(command)) ids.add(command.holdId);
  return ids;
}

/** The transactions that the works are to reverse. */
function originalIdsOf(works: readonly Work[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of works) for (const command of commands) if (isReverse(command)) ids.add(command.originalId);
  return ids;
}

/** Whether the time matters for what becomes of the works, on these books. */
export function needsClock(works: readonly Work[], books: readonly ReadBook[]): boolean {
  return (
    works.some(({ commands }) => commands.some(hasTime)) || books.some(({ book: { velocity } }) => velocity !== null)
  );
}

function hasTime(command: Command): boolean {
  return (
    command.kind === TRANSACTION_KIND.HOLD ||
    isHoldStep(command) ||
    (isCompound(command) && command.validUntil !== null)
  );
}

/** Whether the work can only be decided with the accounts locked: what was reversed of a transaction is not remembered. */
export function needsLocks({ commands }: Work): boolean {
  return commands.some(isReverse);
}

const NOTHING: Recorded = { firstIndex: 0n, createTime: 0n };
