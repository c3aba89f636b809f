import {
  VelocityDirection,
  type Limits as LimitsMessage,
  type VelocityLimit as VelocityMessage,
} from "../../../generated/grey/ledger/v1/limits.js";
import { assertPresent } from "../../base/assert.js";
import { kindFromCode, TRANSACTION_KIND } from "../../base/codes.js";
import { fail, invalid, type FieldViolation } from "../../base/failure.js";
import type { Account } from "../../ledger/account/account.js";
import type { Limits } from "../../ledger/account/limits.js";
import type { VelocityTerms } from "../../ledger/account/velocity.js";
import { COUNTED_KIND_CODES } from "../../ledger/command/kinds.js";

/**
 * Fills in the defaults that the contract names. A velocity limit that names every kind is the same as one that names none.
 * @param minBalance the default of the minimum balance
 */
export function withDefaults(message: LimitsMessage | undefined, minBalance: bigint | undefined): LimitsMessage {
  const limits = assertPresent(message, "limits");
  return {
    ...limits,
    minBalance: limits.minBalance ?? minBalance,
    velocity: limits.velocity.map((one) => (one.kinds.length === KINDS_MAX ? { ...one, kinds: [] } : one)),
  };
}

/** The number of kinds that velocity limits can count. */
const KINDS_MAX = COUNTED_KIND_CODES.length;

/** Parses limits, by the rules that annotations cannot state. Fails: INVALID_REQUEST. */
export function parseLimits({ minBalance: min, maxBalance: max, velocity }: LimitsMessage): Limits {
  const limits = {
    minBalanceMinor: min ?? null,
    maxBalanceMinor: max ?? null,
    velocity: velocity.map(parseVelocity),
  };
  if (limits.minBalanceMinor !== null && max !== undefined && limits.minBalanceMinor > max)
    invalid("limits.max_balance", "must be no less than min_balance");
  assertDistinctNames(velocity);
  return limits;
}

function assertDistinctNames(velocity: readonly VelocityMessage[]): void {
  const violations: FieldViolation[] = [];
  velocity.forEach(({ name }, index) => {
    const first = velocity.findIndex((one) => one.name === name);
    if (first < index)
      violations.push({
        field: `limits.velocity[${index}].name`,
        rule: `must differ from that of limits.velocity[${first}]`,
      });
  });
  if (violations.length > 0) fail({ reason: "INVALID_REQUEST", violations });
}

function parseVelocity(message: VelocityMessage): VelocityTerms {
  return {
    name: message.name,
    direction: message.direction === VelocityDirection.OUTGOING ? "OUTGOING" : "INCOMING",
    kinds: message.kinds.map(kindFromCode),
    windowMicros: message.windowSeconds * 1_000_000n,
    maxAmountMinor: message.maxAmount ?? null,
    maxCount: message.maxCount ?? null,
    since: 0n,
  };
}

export function toLimits({ minBalanceMinor, maxBalanceMinor, velocity }: Account): Limits {
  return { minBalanceMinor, maxBalanceMinor, velocity: velocity ?? [] };
}

export function toLimitsMessage({ minBalanceMinor, maxBalanceMinor, velocity }: Limits): LimitsMessage {
  return {
    minBalance: minBalanceMinor ?? undefined,
    maxBalance: maxBalanceMinor ?? undefined,
    velocity: velocity.map((terms) => ({
      name: terms.name,
      direction: VelocityDirection[terms.direction],
      kinds: terms.kinds.map((kind) => TRANSACTION_KIND[kind]),
      windowSeconds: terms.windowMicros / 1_000_000n,
      maxAmount: terms.maxAmountMinor ?? undefined,
      maxCount: terms.maxCount ?? undefined,
    })),
  };
}
