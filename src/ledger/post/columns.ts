import { encodeFailure } from "../../base/failure.js";
import { HOLD_STATE, TRANSACTION_KIND, TRANSACTION_STATE } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import { AMOUNT_MAX } from "../../base/money.js";
import { toIso, type Micros } from "../../base/time.js";
import { int2Array, int8Array, textArray, timestampArray, uuidArray } from "../../db/binary-array.js";
import type { Account } from "../account/account.js";
import type { Entry } from "../account/entry.js";
import { findUsesSince, sliceMicros } from "../account/velocity.js";
import { isHoldStep, type Command, type Leg } from "../command/command.js";
import type { DecidedCommand } from "../decide/decision.js";
import { hasExpired, type Hold } from "../decide/hold.js";
import { encodeExchange } from "../transaction/exchange-detail.js";
import type { Batch } from "./batch.js";

// The parameters of post_batch(): columns of transactions, holds and usage. Columns that only some kinds need are
// empty when no transaction of the batch needs them. Before each function are the names and types of its columns.

export const TRANSACTION_PARAMETERS = {
  p_ids: "uuid[]",
  p_kinds: "smallint[]",
  p_states: "smallint[]",
  p_callers: "uuid[]",
  p_request_ids: "uuid[]",
  p_debit_account_ids: "uuid[]",
  p_credit_account_ids: "uuid[]",
  p_debit_sequences: "bigint[]",
  p_credit_sequences: "bigint[]",
  p_debit_balances: "bigint[]",
  p_credit_balances: "bigint[]",
  p_currency_codes: "text[]",
  p_amounts: "bigint[]",
  p_effective_times: "timestamptz[]",
  p_failures: "text[]",
  p_terms: "text[]",
  p_reverses_ids: "uuid[]",
} as const;

export function toTransactionColumns(decided: readonly DecidedCommand[]): Buffer[] {
  const commands = decided.map((one) => one.command);
  const movements = decided.map((one) => one.decision.movement);
  // The entries of one with many legs are written by its legs.
  const entries = decided.map(({ decision }) =>
    "entries" in decision && decision.movement.legs === null ? decision.entries : NO_ENTRIES,
  );
  return [
    uuidArray(commands.map((command) => command.transactionId)),
    int2Array(commands.map((command) => TRANSACTION_KIND[command.kind])),
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
    timestampArray(movements.map((movement) => movement.effectiveTime)),
    textArray(decided.map(({ decision }) => ("failure" in decision ? encodeFailure(decision.failure) : null))),
    textArray(commands.map(({ requestTerms }) => (requestTerms === null ? null : JSON.stringify(requestTerms)))),
    commands.some(isReversal) ? uuidArray(commands.map(getReversedId)) : uuidArray([]),
  ];
}

const NO_ENTRIES: readonly Entry[] = [];

function isReversal({ kind }: Command): boolean {
  return kind === "REVERSAL";
}

/** Returns the transaction that the command reverses, if any. */
export function getReversedId(command: Command): Uuid | null {
  return command.kind === "REVERSAL" ? command.originalId : null;
}

/** Returns the hold that the command is a step of, if it exists. */
export function getHoldId(command: Command, isPosted: boolean): Uuid | null {
  if (isHoldStep(command)) return command.holdId;
  return command.kind === "HOLD" && isPosted ? command.transactionId : null;
}

export const PENDING_PARAMETERS = {
  p_entry_amounts: "bigint[]",
  p_debit_pending_debits: "bigint[]",
  p_debit_pending_credits: "bigint[]",
  p_credit_pending_debits: "bigint[]",
  p_credit_pending_credits: "bigint[]",
  p_step_hold_ids: "uuid[]",
  p_step_amounts: "bigint[]",
  p_step_captured: "bigint[]",
  p_step_states: "smallint[]",
  p_step_expire_times: "timestamptz[]",
  p_step_expires_in: "bigint[]",
} as const;

/** Returns the pending sums after the entries, and the holds after their steps. */
export function toPendingColumns(decided: readonly DecidedCommand[]): Buffer[] {
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
    command.kind === "HOLD" ||
    ("entries" in decision &&
      decision.entries.some((entry) => entry.pendingDebitsAfterMinor > 0n || entry.pendingCreditsAfterMinor > 0n))
  );
}

export const LEG_PARAMETERS = {
  p_leg_account_ids: "text[]",
  p_leg_currency_codes: "text[]",
  p_leg_amounts: "text[]",
  p_leg_sequences: "text[]",
  p_leg_balances: "text[]",
  p_leg_pending_debits: "text[]",
  p_leg_pending_credits: "text[]",
  p_details: "text[]",
} as const;

/** Returns the legs and their entries, each column an array as text, and the details of exchanges. */
export function toLegColumns(decided: readonly DecidedCommand[]): Buffer[] {
  const concerned = decided.some(({ decision }) => decision.movement.legs !== null) ? decided : [];
  const legs = (get: (leg: Leg) => bigint | string): Buffer =>
    textArray(concerned.map(({ decision }) => toArrayText(decision.movement.legs?.map(get))));
  const entries = (get: (entry: Entry) => bigint): Buffer =>
    textArray(
      concerned.map(({ decision }) =>
        toArrayText("entries" in decision && decision.movement.legs !== null ? decision.entries.map(get) : undefined),
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
    textArray(
      concerned.map(({ decision: { movement } }) =>
        movement.exchange === null ? null : encodeExchange(movement.exchange),
      ),
    ),
  ];
}

/** Returns PostgreSQL's text of an array; null for none. Texts are quoted: a currency may be named NULL. */
function toArrayText(values: readonly (bigint | string)[] | undefined): string | null {
  if (values === undefined) return null;
  return `{${values.map((value) => (typeof value === "string" ? `"${value}"` : value)).join(",")}}`;
}

/** Returns the time until which the batch may be recorded, the earliest of its quotes; null for any time. */
export function toValidUntil(decided: readonly DecidedCommand[]): string | null {
  let earliest: Micros | null = null;
  for (const { command, decision } of decided) {
    if (command.kind !== "EXCHANGE" || command.validUntil === null || "failure" in decision) continue;
    if (earliest === null || command.validUntil < earliest) earliest = command.validUntil;
  }
  return earliest === null ? null : toIso(earliest);
}

export const USAGE_PARAMETERS = {
  p_usage_account_ids: "uuid[]",
  p_usage_names: "text[]",
  p_usage_slice_micros: "bigint[]",
  p_usage_amounts: "bigint[]",
  p_usage_counts: "bigint[]",
} as const;

/** Returns the uses of velocity limits, which the database counts in the slice of the time at which it records the batch. */
export function toUsageColumns(batch: Batch): Buffer[] {
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
    // Without a maximum the sum is only informative, as far as int64 goes.
    const amountMinor = use.amountMinor < AMOUNT_MAX ? use.amountMinor : AMOUNT_MAX;
    return [{ accountId: id, name: limit.name, limit, amountMinor, count: use.count }];
  });
}

export const HOLD_PARAMETERS = {
  p_hold_ids: "uuid[]",
  p_hold_revisions_before: "bigint[]",
  p_hold_are_live: "smallint[]",
  p_hold_account_ids: "uuid[]",
  p_hold_to_account_ids: "uuid[]",
  p_hold_currency_codes: "text[]",
  p_hold_amounts: "bigint[]",
  p_hold_captured: "bigint[]",
  p_hold_states: "smallint[]",
  p_hold_expire_times: "timestamptz[]",
  p_hold_expires_in: "bigint[]",
} as const;

export function toHoldColumns(batch: Batch): Buffer[] {
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

/** Returns what the decisions assume: 1 that the hold has not expired, 0 that it has; null when it had ended before. */
function toLiveness(hold: Hold, now: Micros): 0 | 1 | null {
  if (hold.state !== HOLD_STATE.ACTIVE) return null;
  return hasExpired(hold, now) ? 0 : 1;
}
