import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { readClock } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { awaitReplicas } from "../../db/in-transaction.js";
import { lockAccounts, readAccounts, type ReadAccount } from "../account/books.js";
import { openBatch, toTransactions, writeBatch, type Batch, type JournalPlace, type WriteOptions } from "./batch.js";
import { TRANSACTION_KIND } from "../../base/codes.js";
import { findAnswers, findTransactions } from "../transaction/rows.js";
import { findReversed, toOriginal } from "../transaction/reversed.js";
import { readHolds } from "../hold/rows.js";
import { listHoldAccounts } from "../decide/hold-rules.js";
import type { Hold } from "../decide/hold.js";
import {
  listAccounts,
  isCompound,
  isHoldStep,
  isMovement,
  isReverse,
  type Command,
} from "../transaction/transaction.js";
import {
  decideUnit,
  type StoredAnswers,
  type DecidedCommand,
  type Outcome,
  type Verdict,
  type UnitOfWork,
} from "../command/work.js";

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
export async function postUnits(
  client: Queryable,
  units: readonly UnitOfWork[],
  options: WriteOptions = {},
): Promise<Outcome[][]> {
  const { batch, answered } = await openUnits(client, units, lockAccounts, options.claims !== false);
  const verdicts = decideUnits(batch, units, answered);
  const decided = collectDecided(verdicts);
  if (decided.length === 0) {
    await awaitReplicas(client);
    return toOutcomes(verdicts, decided, NOTHING);
  }
  return toOutcomes(verdicts, decided, await writeBatch(client, batch, decided, options));
}

/**
 * Decides a piece of work on the accounts as they are, and writes nothing: it tells what would come of the work now.
 * @param client inside a transaction that sees one snapshot
 */
export async function tryUnit(client: Queryable, unit: UnitOfWork): Promise<Outcome[]> {
  const { batch, answered } = await openUnits(client, [unit], readAccounts, true);
  const verdicts = decideUnits(batch, [unit], answered);
  const [outcomes] = toOutcomes(verdicts, collectDecided(verdicts), {
    firstIndex: 0n,
    createTime: await readClock(client),
  });
  return assertPresent(outcomes, "the outcomes of a work");
}

/** What the works are decided from: accounts, holds and transactions that they speak of, and what was answered before. */
async function openUnits(
  client: Queryable,
  units: readonly UnitOfWork[],
  read: typeof readAccounts,
  looksUp: boolean,
): Promise<{ batch: Batch; answered: StoredAnswers }> {
  const holdIds = collectHoldIds(units);
  const named = holdIds.size === 0 ? [] : await readHolds(client, holdIds);
  const holdOf = new Map(named.map(({ hold }) => [hold.id, hold]));
  const originals = await findTransactions(client, [...collectOriginalIds(units)]);
  const accounts = await read(client, [
    ...collectAccountIds(units, holdOf),
    ...[...originals.values()].flatMap(listAccounts),
  ]);
  const commands = units.flatMap((unit) => unit.commands);
  const answered = looksUp ? await findAnswers(client, commands) : NOTHING_ANSWERED;
  // The accounts of a hold are locked and never change, so now the hold does not either.
  const holds = holdIds.size === 0 ? [] : await readHolds(client, holdIds);
  // The same holds of what was reversed: whoever reverses locks the accounts of the original.
  const reversed = await findReversed(client, [...originals.keys()], 0);
  const batch = openBatch(
    accounts,
    holds,
    needsClock(units, accounts) ? await readClock(client) : 0n,
    [...originals.values()].map((transaction) => toOriginal(transaction, reversed.get(transaction.id))),
  );
  return { batch, answered };
}

const NOTHING_ANSWERED: StoredAnswers = new Map();

/** Decides all works. No two of their commands have the same request id: the engine keeps copies apart. */
export function decideUnits(batch: Batch, units: readonly UnitOfWork[], answered: StoredAnswers): Verdict[][] {
  return units.map((unit) => decideUnit(batch, unit, answered));
}

/** What of the verdicts is to be written, in order. */
export function collectDecided(verdicts: readonly (readonly Verdict[])[]): DecidedCommand[] {
  return verdicts.flat().filter((verdict): verdict is DecidedCommand => "decision" in verdict);
}

/**
 * The answers to all commands once what was decided is recorded.
 * @param decided decidedOf() the verdicts
 */
export function toOutcomes(
  verdicts: readonly (readonly Verdict[])[],
  decided: readonly DecidedCommand[],
  recorded: JournalPlace,
): Outcome[][] {
  const transactions = toTransactions(decided, recorded);
  let next = 0;
  return verdicts.map((ofWork) =>
    ofWork.map((verdict) => {
      if ("outcome" in verdict) return verdict.outcome;
      const transaction = assertPresent(transactions[next], "a recorded transaction");
      next += 1;
      return { transaction, replayed: false };
    }),
  );
}

/** The accounts that the works speak of, themselves or through the holds that they name and that are known. */
export function collectAccountIds(units: readonly UnitOfWork[], holds: { get(id: Uuid): Hold | undefined }): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of units) {
    for (const command of commands) {
      for (const { walletId } of command.preconditions) ids.add(walletId);
      if (isMovement(command)) {
        ids.add(command.debitAccountId).add(command.creditAccountId);
      } else if (isHoldStep(command)) {
        const hold = holds.get(command.holdId);
        if (hold !== undefined) for (const id of listHoldAccounts(hold, command)) ids.add(id);
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
export function collectHoldIds(units: readonly UnitOfWork[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of units) for (const command of commands) if (isHoldStep(command)) ids.add(command.holdId);
  return ids;
}

/** The transactions that the works are to reverse. */
function collectOriginalIds(units: readonly UnitOfWork[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of units) for (const command of commands) if (isReverse(command)) ids.add(command.originalId);
  return ids;
}

/** Whether the time matters for what becomes of the works, on these accounts. */
export function needsClock(units: readonly UnitOfWork[], accounts: readonly ReadAccount[]): boolean {
  return (
    units.some(({ commands }) => commands.some(isTimed)) ||
    accounts.some(({ account: { velocity } }) => velocity !== null)
  );
}

function isTimed(command: Command): boolean {
  return (
    command.kind === TRANSACTION_KIND.HOLD ||
    isHoldStep(command) ||
    (isCompound(command) && command.validUntil !== null)
  );
}

/** Whether the work can only be decided with the accounts locked: what was reversed of a transaction is not remembered. */
export function needsLocks({ commands }: UnitOfWork): boolean {
  return commands.some(isReverse);
}

const NOTHING: JournalPlace = { firstIndex: 0n, createTime: 0n };
