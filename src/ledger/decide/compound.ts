import { assertPresent } from "../../base/assert.js";
import type { CompoundCommand } from "../command/command.js";
import type { Movement, RecordedDecision } from "./decision.js";
import { assertBalanced } from "./double-entry.js";
import { checkLegAccounts, decideLegs } from "./legs.js";
import type { LedgerState } from "./state.js";

/**
 * Decides a transaction of many legs, which sum to zero in each currency, and, when it is posted, changes the accounts.
 *
 * The first broken rule of this order is the failure: leg by leg, that the account exists; then as postLegs().
 */
export function decideCompound(state: LedgerState, command: CompoundCommand): RecordedDecision {
  const { legs, system } = command;
  assertBalanced(legs);
  const movement = toMovement(command);
  const failure = checkLegAccounts(state, legs, system);
  return failure === undefined ? decideLegs(state, movement, legs) : { movement, failure };
}

function toMovement({ kind, legs, effectiveTime }: CompoundCommand): Movement {
  const { currencyCode } = assertPresent(legs[0], "a leg");
  const debits = legs.filter((leg) => leg.amountMinor > 0n);
  const credit = legs.find((leg) => leg.amountMinor < 0n);
  return {
    kind,
    debitAccountId: assertPresent(debits[0], "a debit").accountId,
    creditAccountId: assertPresent(credit, "a credit").accountId,
    currencyCode,
    amountMinor: debits
      .filter((leg) => leg.currencyCode === currencyCode)
      .reduce((sum, leg) => sum + leg.amountMinor, 0n),
    effectiveTime,
    legs,
    exchange: null,
  };
}
