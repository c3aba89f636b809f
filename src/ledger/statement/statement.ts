import { assert } from "../../base/assert.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { NORMAL_SIDE } from "../../base/codes.js";
import type { AccountRow } from "../../entities/account.js";

/** A period of a statement, by record time or by effective time. */
export interface Period {
  readonly from: Micros;
  /** Exclusive. */
  readonly before: Micros;
}

/** An entry that moved money; its amount is positive on the account's normal side. */
export interface StatementLine {
  readonly transactionId: Uuid;
  readonly amountMinor: bigint;
  readonly balanceAfterMinor: bigint;
  readonly sequence: bigint;
  readonly createTime: Micros;
  readonly effectiveTime: Micros;
  readonly journalIndex: bigint;
  readonly description: string;
}

/** The position of a line, from which its statement continues. */
export type LinePosition = Pick<StatementLine, "sequence" | "effectiveTime" | "balanceAfterMinor">;

/** The account of a statement. */
export type StatementAccount = Pick<AccountRow, "id" | "systemAccount" | "currencyCode" | "normalSide">;

/** The balances and turnover of a period, as known when the statement was requested. */
export interface StatementSummary {
  readonly account: StatementAccount;
  readonly openingMinor: bigint;
  readonly raisedMinor: bigint;
  readonly loweredMinor: bigint;
  readonly closingMinor: bigint;
  /** The sequence of the last entry: of the period by record time, or of the account when the statement was requested. */
  readonly last: bigint;
}

/** A statement's summary, and the position before its first line. */
export interface StatementStart {
  readonly summary: StatementSummary;
  readonly position: LinePosition;
}

/** Sums of debits and credits, as text: a turnover may exceed the range of a balance. */
export interface Turnover {
  readonly debits: string;
  readonly credits: string;
}

/** Converts debits and credits into increases and decreases on the account's normal side. */
export function toTurnover(
  { normalSide }: StatementAccount,
  { debits, credits }: Turnover,
): Pick<StatementSummary, "raisedMinor" | "loweredMinor"> {
  const [raised, lowered] = normalSide === NORMAL_SIDE.CREDIT ? [credits, debits] : [debits, credits];
  return { raisedMinor: BigInt(raised), loweredMinor: BigInt(lowered) };
}

/** Asserts that opening balance and turnover add up to the closing balance. @returns the summary */
export function assertSummary(summary: StatementSummary): StatementSummary {
  const { openingMinor, raisedMinor, loweredMinor, closingMinor } = summary;
  assert(openingMinor + raisedMinor - loweredMinor === closingMinor, "a statement does not add up");
  return summary;
}
