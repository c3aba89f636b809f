import type { Micros } from "../../base/time.js";
import { kindFromCode, TRANSACTION_KIND, type TransactionKindCode } from "../../base/codes.js";
import type { Direction, VelocityTerms } from "./velocity.js";

/** The limits of an account; amounts are minor units of its currency. */
export interface Limits {
  /** null for no limit. */
  readonly minBalanceMinor: bigint | null;
  readonly maxBalanceMinor: bigint | null;
  readonly velocity: readonly VelocityTerms[];
}

/** The default limits of a wallet: no overdraft, no maximum balance, no velocity limit. */
export const WALLET_LIMITS: Limits = { minBalanceMinor: 0n, maxBalanceMinor: null, velocity: [] };

/** Encodes limits as JSON; amounts and numbers are decimal strings. */
export function encodeLimits({ minBalanceMinor, maxBalanceMinor, velocity }: Limits): string {
  return JSON.stringify({
    minBalance: minBalanceMinor?.toString() ?? null,
    maxBalance: maxBalanceMinor?.toString() ?? null,
    velocity: velocity.map(toVelocityJson),
  });
}

/** Decodes what encodeLimits() wrote. */
export function decodeLimits(json: string): Limits {
  const { minBalance, maxBalance, velocity } = JSON.parse(json) as {
    minBalance: string | null;
    maxBalance: string | null;
    velocity: VelocityJson[];
  };
  return {
    minBalanceMinor: toBigint(minBalance),
    maxBalanceMinor: toBigint(maxBalance),
    velocity: velocity.map(fromVelocityJson),
  };
}

/**
 * Returns the velocity limits that replace others. A limit that differs only in its maxima keeps its usage; any other one
 * counts from now.
 */
export function replaceVelocity(
  before: readonly VelocityTerms[],
  after: readonly VelocityTerms[],
  now: Micros,
): readonly VelocityTerms[] {
  return after.map((terms) => {
    const counterpart = before.find((limit) => countsAlike(limit, terms));
    return { ...terms, since: counterpart?.since ?? now };
  });
}

function countsAlike(a: VelocityTerms, b: VelocityTerms): boolean {
  return (
    a.name === b.name &&
    a.direction === b.direction &&
    a.windowMicros === b.windowMicros &&
    a.kinds.length === b.kinds.length &&
    a.kinds.every((kind) => b.kinds.includes(kind))
  );
}

/** Encodes the velocity limits of an account as JSON; null for none. */
export function encodeVelocity(velocity: readonly VelocityTerms[]): string | null {
  return velocity.length === 0 ? null : JSON.stringify(velocity.map(toVelocityJson));
}

/** Decodes what encodeVelocity() wrote. */
export function decodeVelocity(json: string | null): readonly VelocityTerms[] {
  return json === null ? [] : (JSON.parse(json) as VelocityJson[]).map(fromVelocityJson);
}

interface VelocityJson {
  readonly name: string;
  readonly direction: Direction;
  readonly kinds: readonly TransactionKindCode[];
  readonly windowMicros: string;
  readonly maxAmount: string | null;
  readonly maxCount: string | null;
  readonly since: string;
}

function toVelocityJson(terms: VelocityTerms): VelocityJson {
  return {
    name: terms.name,
    direction: terms.direction,
    kinds: terms.kinds.map((kind) => TRANSACTION_KIND[kind]),
    windowMicros: terms.windowMicros.toString(),
    maxAmount: terms.maxAmountMinor?.toString() ?? null,
    maxCount: terms.maxCount?.toString() ?? null,
    since: terms.since.toString(),
  };
}

function fromVelocityJson(json: VelocityJson): VelocityTerms {
  return {
    name: json.name,
    direction: json.direction,
    kinds: json.kinds.map(kindFromCode),
    windowMicros: BigInt(json.windowMicros),
    maxAmountMinor: toBigint(json.maxAmount),
    maxCount: toBigint(json.maxCount),
    since: BigInt(json.since),
  };
}

function toBigint(text: string | null): bigint | null {
  return text === null ? null : BigInt(text);
}
