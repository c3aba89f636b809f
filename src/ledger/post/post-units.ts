import { assertPresent } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import { readClock } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { awaitReplicas } from "../../db/in-transaction.js";
import type { JournalRecord } from "../../journal/append.js";
import type { ReadAccount } from "../account/account.js";
import { lockAccounts, readAccounts } from "../account/store.js";
import { addNamedAccounts, isHoldStep, type Command, type UnitOfWork } from "../command/command.js";
import { KINDS } from "../command/kinds.js";
import type { DecidedCommand } from "../decide/decision.js";
import { listHoldAccounts } from "../decide/hold-steps.js";
import type { Hold } from "../decide/hold.js";
import { decideUnit, type StoredAnswers, type Verdict } from "../decide/unit.js";
import { readHolds } from "../hold/store.js";
import { findReversals, toOriginal } from "../transaction/reversals.js";
import { findAnswers, findTransactions } from "../transaction/store.js";
import { listAccounts } from "../transaction/transaction.js";
import { openBatch, type Batch } from "./batch.js";
import { NO_REPLAYS, toReplays, type FindDifferences, type Outcome, type Replay } from "./outcome.js";
import { toTransactions, writeBatch, type JournalPlace } from "./write.js";

/** Terms of a posting inside the caller's database transaction. */
interface PostOptions {
  /** Compares repeated requests; null when the caller has claimed the request ids itself. */
  readonly findDifferences: FindDifferences | null;
  /** Journal records that precede those of the transactions. */
  readonly leading?: readonly JournalRecord[];
}

/**
 * Posts units of work, in their order, in the caller's database transaction; nothing counts until that commits.
 *
 *   lock     the accounts of all commands and of the holds that they name, in the order of their ids
 *   look up  the request ids: those that were used before are answered by what they made
 *   decide   each command in memory, with the pure rules
 *   write    transactions, entries, balances, holds, requests and journal records, each with one set-based statement
 *
 * Fails with unique_violation of requests_pkey when a concurrent transaction used a request id; another attempt answers it.
 * @returns for each unit the outcomes of its commands
 */
export async function postUnits(
  client: Queryable,
  units: readonly UnitOfWork[],
  { findDifferences, leading = [] }: PostOptions,
): Promise<Outcome[][]> {
  const { batch, answers } = await openUnits(client, units, lockAccounts, findDifferences);
  // No two commands have the same request id: the engine keeps copies apart.
  const verdicts = units.map((unit) => decideUnit(batch, unit, answers));
  const decided = collectDecided(verdicts);
  if (decided.length === 0) {
    await awaitReplicas(client);
    return toOutcomes(verdicts, decided, NOWHERE);
  }
  const place = await writeBatch(client, batch, decided, { claims: findDifferences !== null, leading });
  return toOutcomes(verdicts, decided, place);
}

const NOWHERE: JournalPlace = { firstIndex: 0n, createTime: 0n };

/**
 * Decides a unit of work on the accounts as they are, and writes nothing.
 * @param client inside a transaction that sees one snapshot
 * @returns what its outcomes would be now
 */
export async function tryUnit(
  client: Queryable,
  unit: UnitOfWork,
  findDifferences: FindDifferences,
): Promise<Outcome[]> {
  const { batch, answers } = await openUnits(client, [unit], readAccounts, findDifferences);
  const verdicts = [decideUnit(batch, unit, answers)];
  const [outcomes] = toOutcomes(verdicts, collectDecided(verdicts), {
    firstIndex: 0n,
    createTime: await readClock(client),
  });
  return assertPresent(outcomes, "the outcomes of a unit");
}

/** Reads what the units are decided from: their accounts, holds and originals, and the answers to repeated requests. */
async function openUnits(
  client: Queryable,
  units: readonly UnitOfWork[],
  read: typeof readAccounts,
  findDifferences: FindDifferences | null,
): Promise<{ batch: Batch; answers: StoredAnswers<Replay> }> {
  const holdIds = collectHoldIds(units);
  const named = holdIds.size === 0 ? [] : await readHolds(client, holdIds);
  const originals = await findTransactions(client, [...collectOriginalIds(units)]);
  const accounts = await read(client, [
    ...collectAccountIds(units, new Map(named.map(({ hold }) => [hold.id, hold]))),
    ...[...originals.values()].flatMap(listAccounts),
  ]);
  const commands = units.flatMap((unit) => unit.commands);
  const answers =
    findDifferences === null ? NO_REPLAYS : toReplays(await findAnswers(client, commands), findDifferences);
  // The accounts of a hold are locked and stay the same, so that the hold stays the same from here on.
  const holds = holdIds.size === 0 ? [] : await readHolds(client, holdIds);
  // The same goes for reversals: each locks the accounts of its original.
  const reversed = await findReversals(client, [...originals.keys()], 0);
  const batch = openBatch(
    accounts,
    holds,
    needsClock(units, accounts) ? await readClock(client) : 0n,
    [...originals.values()].map((transaction) => toOriginal(transaction, reversed.get(transaction.id))),
  );
  return { batch, answers };
}

/** Returns the decisions that are to be written, in order. */
export function collectDecided(verdicts: readonly (readonly Verdict<Replay>[])[]): DecidedCommand[] {
  return verdicts.flat().filter((verdict) => "decision" in verdict);
}

/**
 * Returns the outcomes of all commands once the decisions are recorded.
 * @param decided collectDecided() of the verdicts
 */
export function toOutcomes(
  verdicts: readonly (readonly Verdict<Replay>[])[],
  decided: readonly DecidedCommand[],
  place: JournalPlace,
): Outcome[][] {
  const transactions = toTransactions(decided, place);
  let next = 0;
  return verdicts.map((ofUnit) =>
    ofUnit.map((verdict) => {
      if ("answer" in verdict) return verdict.answer.outcome;
      if ("unrecorded" in verdict) return { failure: verdict.unrecorded };
      const transaction = assertPresent(transactions[next], "a recorded transaction");
      next += 1;
      return { transaction, replayed: false };
    }),
  );
}

/** Returns the accounts that the units name, themselves or through known holds. Those of a reversal are its original's. */
export function collectAccountIds(units: readonly UnitOfWork[], holds: { get(id: Uuid): Hold | undefined }): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of units) {
    for (const command of commands) {
      addNamedAccounts(ids, command);
      if (!isHoldStep(command)) continue;
      const hold = holds.get(command.holdId);
      if (hold !== undefined) for (const id of listHoldAccounts(hold, command)) ids.add(id);
    }
  }
  return ids;
}

/** Returns the holds that the units name. */
export function collectHoldIds(units: readonly UnitOfWork[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of units) for (const command of commands) if (isHoldStep(command)) ids.add(command.holdId);
  return ids;
}

/** Returns the transactions that the units reverse. */
function collectOriginalIds(units: readonly UnitOfWork[]): Set<Uuid> {
  const ids = new Set<Uuid>();
  for (const { commands } of units)
    for (const command of commands) if (command.kind === "REVERSAL") ids.add(command.originalId);
  return ids;
}

/** Reports whether decisions on these units and accounts depend on the time. */
export function needsClock(units: readonly UnitOfWork[], accounts: readonly ReadAccount[]): boolean {
  return (
    units.some(({ commands }) => commands.some(isTimed)) ||
    accounts.some(({ account: { velocity } }) => velocity !== null)
  );
}

function isTimed(command: Command): boolean {
  switch (KINDS[command.kind].needsClock) {
    case "ALWAYS":
      return true;
    case "WITH_QUOTE":
      return command.kind === "EXCHANGE" && command.validUntil !== null;
    case "NEVER":
      return false;
  }
}

/** Reports whether the unit can be decided with its accounts locked only. */
export function needsLocks({ commands }: UnitOfWork): boolean {
  return commands.some(({ kind }) => KINDS[kind].needsLocks);
}
