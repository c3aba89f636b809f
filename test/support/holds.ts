import { newId, type Uuid } from "../../src/base/ids.js";
import { TRANSACTION_KIND } from "../../src/base/codes.js";
import type { Expiry, HoldCommand, HoldStepCommand } from "../../src/ledger/transaction/transaction.js";
import { LOCAL_CALLER } from "../../src/rpc/context.js";

// Commands about holds, with ids of their own.

const HOUR_MICROS = 3_600_000_000n;

export function hours(count: bigint): Expiry {
  return { inMicros: count * HOUR_MICROS };
}

function asked() {
  return {
    caller: LOCAL_CALLER,
    requestId: newId(),
    transactionId: newId(),
    description: "",
    metadata: {},
    externalReference: "",
    terms: {},
    preconditions: [],
  };
}

export function hold(walletId: Uuid, amountMinor: bigint, over: Partial<HoldCommand> = {}): HoldCommand {
  return {
    ...asked(),
    kind: TRANSACTION_KIND.HOLD,
    walletId,
    toWalletId: null,
    currencyCode: "USD",
    amountMinor,
    expiry: hours(1n),
    ...over,
  };
}

function step(kind: HoldStepCommand["kind"], holdId: Uuid, over: Partial<HoldStepCommand>): HoldStepCommand {
  return { ...asked(), kind, holdId, amount: null, isFinal: false, to: null, expiry: null, ...over };
}

function usd(amountMinor: bigint): NonNullable<HoldStepCommand["amount"]> {
  return { currencyCode: "USD", amountMinor };
}

/** @param amountMinor null: all that is left */
export function capture(
  holdId: Uuid,
  amountMinor: bigint | null,
  over: Partial<HoldStepCommand> = {},
): HoldStepCommand {
  return step(TRANSACTION_KIND.HOLD_CAPTURE, holdId, {
    amount: amountMinor === null ? null : usd(amountMinor),
    ...over,
  });
}

export function increase(holdId: Uuid, amountMinor: bigint): HoldStepCommand {
  return step(TRANSACTION_KIND.HOLD_INCREASE, holdId, { amount: usd(amountMinor) });
}

export function extend(holdId: Uuid, expiry: Expiry): HoldStepCommand {
  return step(TRANSACTION_KIND.HOLD_EXTENSION, holdId, { expiry });
}

export function release(holdId: Uuid): HoldStepCommand {
  return step(TRANSACTION_KIND.HOLD_RELEASE, holdId, {});
}
