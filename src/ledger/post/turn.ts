import { assertPresent } from "../../base/assert.js";
import { HOLD_STATE } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { uuidArray } from "../../db/binary-array.js";
import { readClock } from "../../db/clock.js";
import type { Queryable } from "../../db/database.js";
import { awaitReplicas } from "../../db/in-transaction.js";
import { SQLSTATE } from "../../db/sqlstate.js";
import { REQUEST_METHOD } from "../../entities/request.js";
import type { JournalRecord } from "../../journal/append.js";
import { lockHead } from "../../journal/head.js";
import type { Account } from "../account/account.js";
import { readAccounts } from "../account/store.js";
import { addNamedAccounts, isHoldStep, requestKey, type Command, type UnitOfWork } from "../command/command.js";
import { KINDS } from "../command/kinds.js";
import type { DecidedCommand } from "../decide/decision.js";
import { listHoldAccounts } from "../decide/hold-steps.js";
import { hasExpired, type Hold, type ReadHold } from "../decide/hold.js";
import { decideUnit, type StoredAnswers, type Verdict } from "../decide/unit.js";
import { readHolds } from "../hold/store.js";
import { findReversals, toOriginal } from "../transaction/reversals.js";
import { findAnswers, findTransactions } from "../transaction/store.js";
import { listAccounts, type LedgerTransaction } from "../transaction/transaction.js";
import { openBatch, type Batch } from "./batch.js";
import { follow } from "./follow.js";
import type { Memory, Recorded } from "./memory.js";
import { NO_REPLAYS, toReplays, type FindDifferences, type Outcome, type Replay } from "./outcome.js";
import { toTransactions, writeBatch, type JournalPlace } from "./write.js";

/** Terms of a posting inside the caller's database transaction. */
interface PostOptions {
  /** Compares repeated requests; null when the caller has claimed the request ids itself. */
  readonly findDifferences: FindDifferences | null;
  /** Journal records that precede those of the transactions. */
  readonly leading?: readonly JournalRecord[];
}

/** What a turn decided, and where it was recorded; undefined when all of its requests were answered before. */
export interface Turn {
  readonly outcomes: Outcome[][];
  readonly written: { readonly batch: Batch; readonly recorded: Recorded } | undefined;
}

/**
 * Posts units of work, in their order, in the caller's database transaction; nothing counts until that commits.
 * @returns for each unit the outcomes of its commands
 */
export async function postUnits(
  client: Queryable,
  units: readonly UnitOfWork[],
  options: PostOptions,
): Promise<Outcome[][]> {
  return (await takeTurn(client, units, options)).outcomes;
}

/**
 * Takes a turn: posts units with the journal's head locked until the database transaction ends.
 *
 *   look up  the request ids: those that were used before are answered by what they made
 *   claim    the others, of commands that will be recorded; this may wait for another transaction
 *   lock     the journal's head; from here on nothing waits
 *   read     the accounts and holds; a memory follows the journal instead
 *   decide   each command in memory, with the pure rules
 *   write    transactions, entries, holds and journal records
 *
 * Fails with unique_violation of requests_pkey when a concurrent transaction used a request id, and with serialization_failure when
 * one changed what is recorded; another attempt succeeds.
 */
export async function takeTurn(
  client: Queryable,
  units: readonly UnitOfWork[],
  { findDifferences, leading = [] }: PostOptions,
  memory?: Memory,
): Promise<Turn> {
  const answers = await findReplays(client, units, findDifferences);
  if (units.every(({ commands }) => commands.every((command) => answers.get(command) !== undefined))) {
    await awaitReplicas(client);
    const verdicts = units.map((unit) => decideUnit(NOTHING_KNOWN, unit, answers));
    return { outcomes: toOutcomes(verdicts, [], NOWHERE), written: undefined };
  }
  // Recorded transactions never change.
  const originals = await findOriginals(client, units);
  const claimed = findDifferences === null ? undefined : await claimRequests(client, units, answers, originals);
  const head = await lockHead(client);
  if (memory !== undefined) {
    memory.drop();
    await follow(client, memory, head);
  }
  const batch = await readBatch(client, units, originals, head.revision, memory);
  // No two commands have the same request id: the engine keeps copies apart.
  const verdicts = units.map((unit) => decideUnit(batch, unit, answers));
  const decided = collectDecided(verdicts);
  if (claimed !== undefined) assertClaimed(decided, claimed);
  if (decided.length === 0) {
    await awaitReplicas(client);
    return { outcomes: toOutcomes(verdicts, decided, NOWHERE), written: undefined };
  }
  const place = await writeBatch(client, batch, decided, { claims: false, leading });
  return {
    outcomes: toOutcomes(verdicts, decided, place),
    written: { batch, recorded: toRecorded(decided, place) },
  };
}

const NOWHERE: JournalPlace = { firstIndex: 0n, createTime: 0n };
const NOTHING_KNOWN = openBatch(0n, []);

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
  const answers = await findReplays(client, [unit], findDifferences);
  const batch = await readBatch(client, [unit], await findOriginals(client, [unit]), 0n);
  const verdicts = [decideUnit(batch, unit, answers)];
  const [outcomes] = toOutcomes(verdicts, collectDecided(verdicts), {
    firstIndex: 0n,
    createTime: await readClock(client),
  });
  return assertPresent(outcomes, "the outcomes of a unit");
}

async function findReplays(
  client: Queryable,
  units: readonly UnitOfWork[],
  findDifferences: FindDifferences | null,
): Promise<StoredAnswers<Replay>> {
  if (findDifferences === null) return NO_REPLAYS;
  const commands = units.flatMap((unit) => unit.commands);
  return toReplays(await findAnswers(client, commands), findDifferences);
}

/**
 * Claims the request ids of the commands that will be recorded, as far as can be told without the head. A step of a hold that a command of
 * the same turn makes is not foreseen, and fails as a conflict: no caller knows the id of a hold before the answer.
 * @returns their requestKey()
 */
async function claimRequests(
  client: Queryable,
  units: readonly UnitOfWork[],
  answers: StoredAnswers<Replay>,
  originals: Originals,
): Promise<ReadonlySet<string>> {
  const holds = await readNamedHolds(client, units);
  const now = holds.size === 0 ? 0n : await readClock(client);
  const claimed = units
    .flatMap((unit) => unit.commands)
    .filter((command) => answers.get(command) === undefined && willBeRecorded(command, originals, holds, now));
  if (claimed.length > 0)
    await client.query({
      name: "requests-claim",
      text: CLAIM,
      values: [
        uuidArray(claimed.map(({ caller }) => caller)),
        uuidArray(claimed.map(({ requestId }) => requestId)),
        uuidArray(claimed.map(({ transactionId }) => transactionId)),
      ],
    });
  return new Set(claimed.map(requestKey));
}

// In an order, so that two transactions never wait for each other.
const CLAIM = `
INSERT INTO requests (caller, request_id, method, transaction_id)
SELECT caller, request_id, ${REQUEST_METHOD.POST}, id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS r (caller, request_id, id)
ORDER BY caller, request_id`;

function willBeRecorded(command: Command, originals: Originals, holds: NamedHolds, now: Micros): boolean {
  if (command.kind === "REVERSAL") return originals.has(command.originalId);
  if (!isHoldStep(command)) return true;
  const hold = holds.get(command.holdId)?.hold;
  if (hold === undefined) return false;
  return command.kind !== "HOLD_EXPIRY" || (hold.state === HOLD_STATE.ACTIVE && hasExpired(hold, now));
}

/** Fails as a conflict when a transaction meanwhile has changed which commands are recorded. */
function assertClaimed(decided: readonly DecidedCommand[], claimed: ReadonlySet<string>): void {
  if (decided.length === claimed.size && decided.every(({ command }) => claimed.has(requestKey(command)))) return;
  throw Object.assign(new Error("what is recorded has changed"), { code: SQLSTATE.SERIALIZATION_FAILURE });
}

/** The holds that units name. */
type NamedHolds = ReadonlyMap<Uuid, ReadHold>;

async function readNamedHolds(client: Queryable, units: readonly UnitOfWork[]): Promise<NamedHolds> {
  const ids = collectHoldIds(units);
  const holds = ids.size === 0 ? [] : await readHolds(client, ids);
  return new Map(holds.map((read) => [read.hold.id, read]));
}

/** The transactions that units reverse. */
type Originals = ReadonlyMap<Uuid, LedgerTransaction>;

function findOriginals(client: Queryable, units: readonly UnitOfWork[]): Promise<Originals> {
  return findTransactions(client, [...collectOriginalIds(units)]);
}

/** Reads what the units are decided from: their accounts and holds, and how much of their originals is reversed, as of this revision of the ledger. */
async function readBatch(
  client: Queryable,
  units: readonly UnitOfWork[],
  originals: Originals,
  revision: bigint,
  memory?: Memory,
): Promise<Batch> {
  const holds = await readNamedHolds(client, units);
  const { known, missing } = recall(memory?.getAccount ?? knowNothing, [
    ...collectAccountIds(units, { get: (id) => holds.get(id)?.hold }),
    ...[...originals.values()].flatMap(listAccounts),
  ]);
  const read = missing.length === 0 ? [] : await readAccounts(client, missing);
  memory?.keep(read);
  const accounts = [...known, ...read];
  const reversed = await findReversals(client, [...originals.keys()], 0);
  return openBatch(
    revision,
    accounts,
    [...holds.values()],
    needsClock(units, accounts) ? await readClock(client) : 0n,
    [...originals.values()].map((transaction) => toOriginal(transaction, reversed.get(transaction.id))),
  );
}

function knowNothing(): undefined {
  return undefined;
}

/** Returns the remembered values of these ids, and the ids of the others. */
export function recall<T>(
  get: (id: Uuid) => T | undefined,
  ids: Iterable<Uuid>,
): { readonly known: T[]; readonly missing: Uuid[] } {
  const known: T[] = [];
  const missing: Uuid[] = [];
  for (const id of ids) {
    const one = get(id);
    if (one === undefined) missing.push(id);
    else known.push(one);
  }
  return { known, missing };
}

/** Returns the journal's end after decisions were recorded at a place. */
export function toRecorded(decided: readonly DecidedCommand[], { firstIndex, createTime }: JournalPlace): Recorded {
  const last = assertPresent(decided.at(-1), "a decision");
  return { size: firstIndex + BigInt(decided.length), lastId: last.command.transactionId, createTime };
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
export function needsClock(units: readonly UnitOfWork[], accounts: readonly Account[]): boolean {
  return units.some(({ commands }) => commands.some(isTimed)) || accounts.some(({ velocity }) => velocity !== null);
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

/** Reports whether the unit can be decided in a turn only. */
export function needsTurn({ commands }: UnitOfWork): boolean {
  return commands.some(({ kind }) => KINDS[kind].needsTurn);
}
