import { fail } from "../../base/failure.js";
import { toMicros, type Micros } from "../../base/time.js";
import type { Config } from "../../config/config.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { findAnswers, requestKey } from "../../ledger/transaction/rows.js";
import { isCompound, isMovement, type Command } from "../../ledger/transaction/transaction.js";
import type { CallContext } from "../../rpc/context.js";

/** How far from now a transaction may take effect, in whole days. */
export interface EffectiveWindow {
  readonly daysBack: number;
  readonly daysAhead: number;
}

export function effectiveWindow(config: Config): EffectiveWindow {
  return { daysBack: config.GREY_BACKDATE_MAX_DAYS, daysAhead: config.GREY_POSTDATE_MAX_DAYS };
}

const DAY_MICROS = 86_400_000_000n;

/** Whether the command says when it takes effect. */
export function isDated(command: Command): boolean {
  return getEffectiveTime(command) !== null;
}

/**
 * Leaves the call when a command is to take effect outside of the window, by this server's clock. The window moves on, so a request
 * that was answered when it was inside of it is let through: it gets that answer again.
 * @param fieldOf the field that holds the time of the command at this place
 */
export async function assertEffective(
  { database, window }: { readonly database: Database; readonly window: EffectiveWindow },
  context: CallContext,
  commands: readonly Command[],
  fieldOf: (index: number) => string,
): Promise<void> {
  const now = toMicros(new Date());
  const outside = commands.filter((command) => !isWithin(window, now, getEffectiveTime(command)));
  if (outside.length === 0) return;
  const answered = await readInSession(database, context, ({ client }) => findAnswers(client, outside));
  const rule = `must be no more than ${window.daysBack} days ago, and no more than ${window.daysAhead} days ahead`;
  const violations = outside
    .filter((command) => !answered.has(requestKey(command)))
    .map((command) => ({ field: fieldOf(commands.indexOf(command)), rule }));
  if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
}

function isWithin({ daysBack, daysAhead }: EffectiveWindow, now: Micros, time: Micros | null): boolean {
  return time === null || (time >= now - BigInt(daysBack) * DAY_MICROS && time <= now + BigInt(daysAhead) * DAY_MICROS);
}

function getEffectiveTime(command: Command): Micros | null {
  return isMovement(command) || isCompound(command) ? command.effectiveTime : null;
}
