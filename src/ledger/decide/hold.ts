import { HOLD_STATE, type HoldState } from "../../base/codes.js";
import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";

/** Reserved money, as posting sees it. A decision replaces it and never changes it. */
export interface Hold {
  readonly id: Uuid;
  /** The wallet whose money is held. */
  readonly accountId: Uuid;
  /** The wallet that it is held for, if any. */
  readonly toAccountId: Uuid | null;
  readonly currencyCode: string;
  /** All that is or was held, and the part of it that was captured; minor units. */
  readonly amountMinor: bigint;
  readonly capturedMinor: bigint;
  readonly state: HoldState;
  /** By the database's clock; null until the database has reported when it recorded the expiry. */
  readonly expireTime: Micros | null;
  /** The expiry counted from its record, while expireTime is null. */
  readonly expiresInMicros: bigint | null;
  /** null until the database has reported them. */
  readonly createTime: Micros | null;
  readonly updateTime: Micros | null;
}

/** A hold as it was read. */
export interface ReadHold {
  readonly hold: Hold;
  /** Identifies this state of the hold: no other state ever has the same revision. */
  readonly revision: bigint;
}

/** Returns what can still be captured or released. */
export function getRemainingMinor({ amountMinor, capturedMinor, state }: Hold): bigint {
  return state === HOLD_STATE.ACTIVE ? amountMinor - capturedMinor : 0n;
}

/** Reports whether the hold has expired; one without a known time has not. */
export function hasExpired({ expireTime }: Hold, now: Micros): boolean {
  return expireTime !== null && now >= expireTime;
}

/** Returns the hold with the times that follow from the record of its latest step. */
export function settleHold(hold: Hold, recordedAt: Micros): Hold {
  return {
    ...hold,
    expireTime: hold.expireTime ?? recordedAt + (hold.expiresInMicros ?? 0n),
    expiresInMicros: null,
    createTime: hold.createTime ?? recordedAt,
    updateTime: recordedAt,
  };
}
