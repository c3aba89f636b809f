import { newId, type Uuid } from "../../src/base/ids.js";
import {
  NO_CALLER_DATA,
  type Amount,
  type CaptureHoldCommand,
  type Expiry,
  type ExtendHoldCommand,
  type HoldCommand,
  type IncreaseHoldCommand,
  type ReleaseHoldCommand,
} from "../../src/ledger/command/command.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";

// Commands on holds, with new ids.

const HOUR_MICROS = 3_600_000_000n;

export function hours(count: bigint): Expiry {
  return { inMicros: count * HOUR_MICROS };
}

/** Returns the fields of a request that do not matter to a test. */
function createRequest() {
  return {
    caller: LOCAL_CALLER,
    requestId: newId(),
    transactionId: newId(),
    data: NO_CALLER_DATA,
    preconditions: [],
    requestTerms: null,
  };
}

export function hold(walletId: Uuid, amountMinor: bigint, over: Partial<HoldCommand> = {}): HoldCommand {
  return {
    ...createRequest(),
    kind: "HOLD",
    walletId,
    toWalletId: null,
    currencyCode: "USD",
    amountMinor,
    expiry: hours(1n),
    ...over,
  };
}

function step(holdId: Uuid) {
  return { ...createRequest(), holdId };
}

function usd(amountMinor: bigint): Amount {
  return { currencyCode: "USD", amountMinor };
}

/** @param amountMinor null for the whole remainder */
export function capture(
  holdId: Uuid,
  amountMinor: bigint | null,
  over: Partial<CaptureHoldCommand> = {},
): CaptureHoldCommand {
  const amount = amountMinor === null ? null : usd(amountMinor);
  return { ...step(holdId), kind: "HOLD_CAPTURE", amount, isFinal: false, to: null, ...over };
}

export function increase(holdId: Uuid, amountMinor: bigint): IncreaseHoldCommand {
  return { ...step(holdId), kind: "HOLD_INCREASE", amount: usd(amountMinor) };
}

export function extend(holdId: Uuid, expiry: Expiry): ExtendHoldCommand {
  return { ...step(holdId), kind: "HOLD_EXTENSION", expiry };
}

export function release(holdId: Uuid): ReleaseHoldCommand {
  return { ...step(holdId), kind: "HOLD_RELEASE" };
}
