import { fail } from "../../base/failure.js";
import { toMicros, type Micros } from "../../base/time.js";
import type { Config } from "../../config/config.js";
import type { Database } from "../../db/database.js";
import { readInSession } from "../../db/in-transaction.js";
import { requestKey, type Command } from "../../ledger/command/command.js";
import { findAnswers } from "../../ledger/transaction/store.js";
import type { CallContext } from "../../rpc/context.js";

/** The distance from now at which a transaction may take effect, in whole days. */
export interface EffectiveWindow {
  readonly daysBack: number;
  readonly daysAhead: number;
}

export function effectiveWindow(config: Config): EffectiveWindow {
  return { daysBack: config.GREY_BACKDATE_MAX_DAYS, daysAhead: config.GREY_POSTDATE_MAX_DAYS };
}

const DAY_MICROS = 86_400_000_000n;

/** Reports whether the command names its effective time. */
export function isDated(command: Command): boolean {
  return getEffectiveTime(command) !== null;
}

/**
 * Refuses commands whose effective time is outside of the window, by this server's clock. Fails: INVALID_REQUEST. The window
 * moves on, so that a request that was answered before passes, and gets that answer again.
 * @param getField returns the field that holds the time of the command at this index
 */
export async function assertEffective(
  { database, window }: { readonly database: Database; readonly window: EffectiveWindow },
  context: CallContext,
  commands: readonly Command[],
  getField: (index: number) => string,
): Promise<void> {
  const now = toMicros(new Date());
  const outside = commands.filter((command) => !isWithin(window, now, getEffectiveTime(command)));
  if (outside.length === 0) return;
  const answered = await readInSession(database, context, ({ client }) => findAnswers(client, outside));
  const rule = `must be no more than ${window.daysBack} days ago, and no more than ${window.daysAhead} days ahead`;
  const violations = outside
    .filter((command) => !answered.has(requestKey(command)))
    .map((command) => ({ field: getField(commands.indexOf(command)), rule }));
  if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
}

function isWithin({ daysBack, daysAhead }: EffectiveWindow, now: Micros, time: Micros | null): boolean {
  return time === null || (time >= now - BigInt(daysBack) * DAY_MICROS && time <= now + BigInt(daysAhead) * DAY_MICROS);
}

function getEffectiveTime(command: Command): Micros | null {
  return "effectiveTime" in command ? command.effectiveTime : null;
}
