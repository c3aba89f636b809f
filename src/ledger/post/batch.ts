import { randomBytes } from "node:crypto";
import type { QueryResultRow } from "pg";
import { assertPresent } from "../../base/assert.js";
import { encodeFailure } from "../../base/failure.js";
import type { Uuid } from "../../base/ids.js";
import { AMOUNT_MAX } from "../../base/money.js";
import { toIso, type Micros } from "../../base/time.js";
import { int2Array, int8Array, textArray, timestampArray, uuidArray } from "../../db/binary-array.js";
import { HOLD_STATE } from "../../base/codes.js";
import { TRANSACTION_KIND, TRANSACTION_STATE } from "../../base/codes.js";
import type { JournalRecord } from "../../journal/append.js";
import type { Account, LedgerState, Original, ReadAccount } from "../account/books.js";
import { hasExpired } from "../decide/hold-rules.js";
import { settleHold, type Hold, type ReadHold } from "../decide/hold.js";
import type { DecidedCommand } from "../command/work.js";
import {
  isCompound,
  isHoldStep,
  isReverse,
  type Command,
  type Entry,
  type Leg,
  type LedgerTransaction,
  type Terms,
} from "../transaction/transaction.js";
import { sliceMicros, findUsesSince } from "../account/velocity.js";

/** The books of one batch: what its decisions read, as it was, and what they made of it. */
export interface Batch extends LedgerState {
  /** The revision of whatever a decision asked for, after the batch. */
  readonly revision: bigint;
  /** The accounts that decisions asked for. */
  readonly touched: readonly TouchedAccount[];
  /** The holds that decisions asked for or made. */
  readonly touchedHolds: readonly TouchedHold[];
}

/** An account that a batch knows. */
interface TouchedAccount {
  /** As it is by now. */
  account: Account;
  readonly before: Account;
  readonly revisionBefore: bigint;
}

/** A hold that a batch knows. */
interface TouchedHold {
  /** As it is by now. */
  hold: Hold;
  /** As it was; null for one that the batch made. */
  readonly before: ReadHold | null;
}

/** The books of a batch, over what is known of accounts and holds. */
export function openBatch(
  known: readonly ReadAccount[],
  knownHolds: readonly ReadHold[] = [],
  now: Micros = 0n,
  originals: readonly Original[] = [],
): Batch {
  const originalOf = new Map(originals.map((original) => [original.transaction.id, original]));
  const accounts = new Map<Uuid, TouchedAccount & { isTouched: boolean }>();
  for (const { account, revision } of known)
    accounts.set(account.id, { account, before: account, revisionBefore: revision, isTouched: false });
  const touched: TouchedAccount[] = [];
  const holds = new Map(knownHolds.map((read) => [read.hold.id, read]));
  const touchedHolds = new Map<Uuid, TouchedHold>();
  return {
    now,
    revision: newRevision(),
    touched,
    get touchedHolds() {
      return [...touchedHolds.values()];
    },
    getAccount: (id) => {
      const account = accounts.get(id);
      if (account === undefined) return undefined;
      if (!account.isTouched) {
        account.isTouched = true;
        touched.push(account);
      }
      return account.account;
    },
    setAccount: (id, account) => {
      assertPresent(accounts.get(id), "a known account").account = account;
    },
    getHold: (id) => {
      const known = touchedHolds.get(id);
      if (known !== undefined) return known.hold;
      const before = holds.get(id);
      if (before !== undefined) touchedHolds.set(id, { hold: before.hold, before });
      return before?.hold;
    },
    getOriginal: (id) => originalOf.get(id),
    setOriginal: (original) => originalOf.set(original.transaction.id, original),
    setHold: (hold) => {
      const known = touchedHolds.get(hold.id);
      if (known === undefined) touchedHolds.set(hold.id, { hold, before: null });
      else known.hold = hold;
    },
  };
}

/** A revision that nobody else has or guesses: 63 random bits. */
function newRevision(): bigint {
  return randomBytes(8).readBigUInt64BE() >> 1n;
}

/** What sends the one statement that writes a batch: a connection inside a transaction, or the posting connection. */
export interface Writer {
  query<Row extends QueryResultRow>(query: { name: string; text: string; values: unknown[] }): Promise<{ rows: Row[] }>;
}

/** What else goes with a batch. */
export interface WriteOptions {
  /** false when the caller has claimed the request ids itself. */
  readonly claims?: boolean;
  /** Journal records that stand before those of the transactions. */
  readonly leading?: readonly JournalRecord[];
}

/** When and where a batch was recorded. */
export interface JournalPlace {
  readonly firstIndex: bigint;
  readonly createTime: Micros;
}

const POST_BATCH = `
SELECT first_index, create_time_micros FROM post_batch(
  $1::boolean, $2::bigint, $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
  $9::uuid[], $10::smallint[], $11::smallint[], $12::uuid[], $13::uuid[], $14::uuid[], $15::uuid[], $16::bigint[],
  $17::bigint[], $18::bigint[], $19::bigint[], $20::text[], $21::bigint[], $22::text[], $23::text[],
  $24::timestamptz[], $25::text[], $26::text[], $27::uuid[], $28::bigint[], $29::bigint[], $30::bigint[],
  $31::bigint[], $32::bigint[], $33::uuid[], $34::bigint[], $35::bigint[], $36::smallint[], $37::timestamptz[],
  $38::bigint[], $39::uuid[], $40::bigint[], $41::smallint[], $42::uuid[], $43::uuid[], $44::text[], $45::bigint[],
  $46::bigint[], $47::smallint[], $48::timestamptz[], $49::bigint[], $50::uuid[], $51::smallint[], $52::text[],
  $53::text[], $54::text[], $55::text[], $56::text[], $57::text[], $58::text[], $59::text[], $60::text[],
  $61::uuid[], $62::text[], $63::bigint[], $64::bigint[], $65::bigint[], $66::timestamptz)`;

/**
 * Writes what was decided: transactions, entries, balances, requests and the journal, all or nothing.
 *
 * Fails with serialization_failure when an account or hold that a decision read has changed since, or a hold or a quote has
 * expired meanwhile, and with unique_violation of requests_pkey when a request id was used before; then nothing is written.
 */
export async function writeBatch(
  client: Writer,
  batch: Batch,
  decided: readonly DecidedCommand[],
  { claims = true, leading = [] }: WriteOptions = {},
): Promise<JournalPlace> {
  const { rows } = await client.query<{ first_index: bigint; create_time_micros: bigint }>({
    name: "post-batch",
    text: POST_BATCH,
    values: [
      claims,
      ...accountColumns(batch),
      ...transactionColumns(decided),
      ...pendingColumns(decided),
      ...holdColumns(batch),
      uuidArray(leading.map((record) => record.id)),
      int2Array(leading.map((record) => record.type)),
      referenceColumn(decided),
      ...legColumns(decided),
      ...usageColumns(batch),
      findValidUntil(decided),
    ],
  });
  const row = assertPresent(rows[0], "the batch's place in the journal");
  return { firstIndex: row.first_index, createTime: row.create_time_micros };
}

/** The transactions that a batch recorded, in the order of its decisions. */
export function toTransactions(
  decided: readonly DecidedCommand[],
  { firstIndex, createTime }: JournalPlace,
): LedgerTransaction[] {
  return decided.map(({ command, decision }, index) => {
    const { movement } = decision;
    const isPosted = "entries" in decision;
    return {
      id: command.transactionId,
      journalIndex: firstIndex + BigInt(index),
      createTime,
      kind: movement.kind,
      requestId: movement.requestId,
      debitAccountId: movement.debitAccountId,
      creditAccountId: movement.creditAccountId,
      currencyCode: movement.currencyCode,
      amountMinor: movement.amountMinor,
      description: movement.description,
      metadata: movement.metadata,
      effectiveTime: movement.effectiveTime,
      terms: movement.terms,
      externalReference: movement.externalReference,
      legs: movement.legs,
      detail: movement.detail,
      entries: isPosted ? decision.entries : NO_ENTRIES,
      failure: isPosted ? null : decision.failure,
      holdId: getHoldId(command, isPosted),
      hold: isPosted && decision.hold !== null ? settleHold(decision.hold, createTime) : null,
      reversesId: getReversedId(command),
    };
  });
}

const NO_ENTRIES: readonly Entry[] = [];

/** The transaction that the command is to reverse, if any. */
function getReversedId(command: Command): Uuid | null {
  return isReverse(command) ? command.originalId : null;
}

/** The hold that the command is a step of, if there is one. */
function getHoldId(command: Command, isPosted: boolean): Uuid | null {
  if (isHoldStep(command)) return command.holdId;
  return command.kind === TRANSACTION_KIND.HOLD && isPosted ? command.transactionId : null;
}

function accountColumns(batch: Batch): unknown[] {
  // In id order, which is the order in which every writer locks accounts.
  const touched = batch.touched.toSorted((a, b) => (a.account.id < b.account.id ? -1 : 1));
  return [
    batch.revision,
    uuidArray(touched.map(({ account }) => account.id)),
    int8Array(touched.map(({ revisionBefore }) => revisionBefore)),
    int8Array(touched.map(({ account }) => account.balanceMinor)),
    int8Array(touched.map(({ account }) => account.pendingDebitsMinor)),
    int8Array(touched.map(({ account }) => account.pendingCreditsMinor)),
    int8Array(touched.map(({ account }) => account.sequence)),
  ];
}

function transactionColumns(decided: readonly DecidedCommand[]): Buffer[] {
  const commands = decided.map((one) => one.command);
  const movements = decided.map((one) => one.decision.movement);
  // The entries of one with many legs are written by its legs.
  const entries = decided.map(({ decision }) =>
    "entries" in decision && decision.movement.legs === null ? decision.entries : NO_ENTRIES,
  );
  return [
    uuidArray(commands.map((command) => command.transactionId)),
    int2Array(commands.map((command) => command.kind)),
    int2Array(
      decided.map(({ decision }) => ("entries" in decision ? TRANSACTION_STATE.POSTED : TRANSACTION_STATE.REJECTED)),
    ),
    uuidArray(commands.map((command) => command.caller)),
    uuidArray(commands.map((command) => command.requestId)),
    uuidArray(movements.map((movement) => movement.debitAccountId)),
    uuidArray(movements.map((movement) => movement.creditAccountId)),
    int8Array(entries.map((pair) => pair[0]?.sequence ?? null)),
    int8Array(entries.map((pair) => pair[1]?.sequence ?? null)),
    int8Array(entries.map((pair) => pair[0]?.balanceAfterMinor ?? null)),
    int8Array(entries.map((pair) => pair[1]?.balanceAfterMinor ?? null)),
    textArray(movements.map((movement) => movement.currencyCode)),
    int8Array(movements.map((movement) => movement.amountMinor)),
    textArray(movements.map((movement) => movement.description)),
    textArray(movements.map((movement) => toJsonText(movement.metadata))),
    timestampArray(movements.map((movement) => movement.effectiveTime)),
    textArray(decided.map(({ decision }) => ("failure" in decision ? encodeFailure(decision.failure) : null))),
    textArray(movements.map(({ terms }) => toJson(terms))),
    commands.some(isReverse) ? uuidArray(commands.map(getReversedId)) : uuidArray([]),
  ];
}

/** What the transactions have to do with holds and pending sums; empty arrays when none has. */
function pendingColumns(decided: readonly DecidedCommand[]): Buffer[] {
  const concerned = decided.some(hasPending) ? decided : [];
  const entries = concerned.map(({ decision }) => ("entries" in decision ? decision.entries : NO_ENTRIES));
  const holds = concerned.map(({ decision }) => ("entries" in decision ? decision.hold : null));
  return [
    int8Array(entries.map((pair) => pair[0]?.amountMinor ?? null)),
    int8Array(entries.map((pair) => pair[0]?.pendingDebitsAfterMinor ?? null)),
    int8Array(entries.map((pair) => pair[0]?.pendingCreditsAfterMinor ?? null)),
    int8Array(entries.map((pair) => pair[1]?.pendingDebitsAfterMinor ?? null)),
    int8Array(entries.map((pair) => pair[1]?.pendingCreditsAfterMinor ?? null)),
    uuidArray(concerned.map(({ command, decision }) => getHoldId(command, "entries" in decision))),
    int8Array(holds.map((hold) => hold?.amountMinor ?? null)),
    int8Array(holds.map((hold) => hold?.capturedMinor ?? null)),
    int2Array(holds.map((hold) => hold?.state ?? null)),
    timestampArray(holds.map((hold) => hold?.expireTime ?? null)),
    int8Array(holds.map((hold) => hold?.expiresInMicros ?? null)),
  ];
}

function hasPending({ command, decision }: DecidedCommand): boolean {
  return (
    isHoldStep(command) ||
    command.kind === TRANSACTION_KIND.HOLD ||
    ("entries" in decision &&
      decision.entries.some((entry) => entry.pendingDebitsAfterMinor > 0n || entry.pendingCreditsAfterMinor > 0n))
  );
}

/** The callers' own names of the transactions; an empty array when none has one. */
function referenceColumn(decided: readonly DecidedCommand[]): Buffer {
  const concerned = decided.some(({ decision }) => decision.movement.externalReference !== "") ? decided : [];
  return textArray(concerned.map(({ decision: { movement } }) => movement.externalReference || null));
}

/** The legs of the transactions that have many, each column an array as text; empty arrays when none has. */
function legColumns(decided: readonly DecidedCommand[]): Buffer[] {
  const concerned = decided.some(({ decision }) => decision.movement.legs !== null) ? decided : [];
  const legs = (of: (leg: Leg) => bigint | string): Buffer =>
    textArray(concerned.map(({ decision }) => arrayText(decision.movement.legs?.map(of))));
  const entries = (of: (entry: Entry) => bigint): Buffer =>
    textArray(
      concerned.map(({ decision }) =>
        arrayText("entries" in decision && decision.movement.legs !== null ? decision.entries.map(of) : undefined),
      ),
    );
  return [
    legs((leg) => leg.accountId),
    legs((leg) => leg.currencyCode),
    legs((leg) => leg.amountMinor),
    entries((entry) => entry.sequence),
    entries((entry) => entry.balanceAfterMinor),
    entries((entry) => entry.pendingDebitsAfterMinor),
    entries((entry) => entry.pendingCreditsAfterMinor),
    textArray(concerned.map(({ decision: { movement } }) => toJson(movement.detail))),
  ];
}

/** PostgreSQL's text of an array of ids, codes and numbers; null for none. A code may be NULL, which only quotes make a text. */
function arrayText(values: readonly (bigint | string)[] | undefined): string | null {
  if (values === undefined) return null;
  return `{${values.map((value) => (typeof value === "string" ? `"${value}"` : value)).join(",")}}`;
}

/** Until when what is posted may be recorded; null for any time. */
function findValidUntil(decided: readonly DecidedCommand[]): string | null {
  let earliest: Micros | null = null;
  for (const { command, decision } of decided) {
    if (!isCompound(command) || command.validUntil === null || "failure" in decision) continue;
    if (earliest === null || command.validUntil < earliest) earliest = command.validUntil;
  }
  return earliest === null ? null : toIso(earliest);
}

/** What the batch uses of velocity limits. The database counts it in the slice of the time at which it records the batch. */
function usageColumns(batch: Batch): Buffer[] {
  const used = batch.touched
    .filter(({ account, before }) => account.velocity !== before.velocity)
    .flatMap(({ account, before }) => listUses(account, before));
  return [
    uuidArray(used.map(({ accountId }) => accountId)),
    textArray(used.map(({ name }) => name)),
    int8Array(used.map(({ limit }) => sliceMicros(limit))),
    int8Array(used.map(({ amountMinor }) => amountMinor)),
    int8Array(used.map(({ count }) => count)),
  ];
}

function listUses({ id, velocity }: Account, before: Account) {
  const uses = findUsesSince(velocity, before.velocity);
  return (velocity ?? []).flatMap((limit, index) => {
    const use = uses[index];
    if (use === undefined) return [];
    // Without a maximum the sum only tells how much it was, as far as int64 goes.
    const amountMinor = use.amountMinor < AMOUNT_MAX ? use.amountMinor : AMOUNT_MAX;
    return [{ accountId: id, name: limit.name, limit, amountMinor, count: use.count }];
  });
}

function holdColumns(batch: Batch): Buffer[] {
  const touched = batch.touchedHolds;
  const holds = touched.map(({ hold }) => hold);
  return [
    uuidArray(holds.map((hold) => hold.id)),
    int8Array(touched.map(({ before }) => before?.revision ?? null)),
    int2Array(touched.map(({ before }) => (before === null ? null : toLiveness(before.hold, batch.now)))),
    uuidArray(holds.map((hold) => hold.accountId)),
    uuidArray(holds.map((hold) => hold.toAccountId)),
    textArray(holds.map((hold) => hold.currencyCode)),
    int8Array(holds.map((hold) => hold.amountMinor)),
    int8Array(holds.map((hold) => hold.capturedMinor)),
    int2Array(holds.map((hold) => hold.state)),
    timestampArray(holds.map((hold) => hold.expireTime)),
    int8Array(holds.map((hold) => hold.expiresInMicros)),
  ];
}

/** What the decisions took for granted: 1 that the hold has not expired, 0 that it has; null when it had ended before. */
function toLiveness(hold: Hold, now: Micros): 0 | 1 | null {
  if (hold.state !== HOLD_STATE.ACTIVE) return null;
  return hasExpired(hold, now) ? 0 : 1;
}

function toJson(terms: Terms | null): string | null {
  return terms === null ? null : JSON.stringify(terms);
}

/** JSON, or null for none. */
function toJsonText(pairs: Readonly<Record<string, string>>): string | null {
  for (const _ in pairs) return JSON.stringify(pairs);
  return null;
}
