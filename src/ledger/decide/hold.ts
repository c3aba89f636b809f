import type { Uuid } from "../../base/ids.js";
import type { Micros } from "../../base/time.js";
import { HOLD_STATE, type HoldState } from "../../base/codes.js";

/** Money that is reserved, as posting sees it; a decision replaces it, it is never changed. */
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
  /** By the database's clock. null while the database has not said when it recorded the expiry. */
  readonly expireTime: Micros | null;
  /** What the expiry is counted by from when it is recorded, while expireTime is null. */
  readonly expiresInMicros: bigint | null;
  /** null while the database has not said. */
  readonly createTime: Micros | null;
  readonly updateTime: Micros | null;
}

/** A hold as it was read. */
export interface ReadHold {
  readonly hold: Hold;
  /** Names this very state of the hold: no other one ever has the same. */
  readonly revision: bigint;
}

/** What can still be captured or released. */
export function getRemainingMinor({ amountMinor, capturedMinor, state }: Hold): bigint {
  return state === HOLD_STATE.ACTIVE ? amountMinor - capturedMinor : 0n;
}

/** The hold with the times that follow from when its latest step was recorded. */
export function settleHold(hold: Hold, recordedAt: Micros): Hold {
  return {
    ...hold,
    expireTime: hold.expireTime ?? recordedAt + (hold.expiresInMicros ?? 0n),
    expiresInMicros: null,
    createTime: hold.createTime ?? recordedAt,
    updateTime: recordedAt,
  };
}
