import type { TransferRequest } from "../../generated/grey/transaction/v1/movement.js";
import { benchId, ID_SPACE, ID_TEXT_BYTES, type RequestIds } from "./bench-ids.js";

// gRPC over HTTP/2 frames a message as: 1 byte "compressed", 4 bytes length, the message.
export const FRAME_HEADER_BYTES = 5;

export const CURRENCY = "USD";
/** Amounts are small, so that wallets never exhaust the balances from populate(). */
const AMOUNT_MAX = 100;

/** Frames a message. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + message.length);
  writeFrameHeader(frame, message.length);
  frame.set(message, FRAME_HEADER_BYTES);
  return frame;
}

export function writeFrameHeader(frame: Buffer, messageBytes: number): void {
  frame[0] = 0;
  frame.writeUInt32BE(messageBytes, 1);
}

/** An encoded message with a replaceable request id. */
export interface Template {
  readonly bytes: Buffer;
  readonly idOffset: number;
}

const PLACEHOLDER_ID = "ffffffff-ffff-7fff-8fff-ffffffffffff";

/** Finds the offset of the request id in an encoded message. */
export function createTemplate(encode: (requestId: string) => Uint8Array): Template {
  const bytes = Buffer.from(encode(PLACEHOLDER_ID));
  const idOffset = bytes.indexOf(PLACEHOLDER_ID, 0, "latin1");
  if (idOffset < 0) throw new Error("the message has no request id");
  return { bytes, idOffset };
}

/** Copies the template with a new request id. */
export function stamped({ bytes, idOffset }: Template, ids: RequestIds): Buffer {
  const copy = Buffer.allocUnsafe(bytes.length);
  bytes.copy(copy);
  ids.stamp(copy, idOffset);
  return copy;
}

export function idIn(frame: Buffer, idOffset: number): string {
  return frame.toString("latin1", idOffset, idOffset + ID_TEXT_BYTES);
}

/** Picks two different wallets; if `isHot`, one of them is wallet 0, as payer and payee equally often. */
function randomPair(wallets: number, isHot: boolean): [from: number, to: number] {
  const first = isHot ? 0 : randomBelow(wallets);
  const second = (first + 1 + randomBelow(wallets - 1)) % wallets;
  return Math.random() < 0.5 ? [first, second] : [second, first];
}

/** Makes a transfer of a small random amount between random wallets. */
export function randomTransfer(requestId: string, wallets: number, isHot: boolean): TransferRequest {
  const [from, to] = randomPair(wallets, isHot);
  return {
    requestId,
    fromWalletId: benchId(ID_SPACE.WALLET, from),
    toWalletId: benchId(ID_SPACE.WALLET, to),
    amount: { currencyCode: CURRENCY, minorUnits: BigInt(1 + randomBelow(AMOUNT_MAX)) },
    description: "",
    metadata: {},
    externalReference: "",
    effectiveTime: undefined,
    preconditions: [],
    amountMode: 0,
    dryRun: false,
  };
}

export function randomBelow(bound: number): number {
  return Math.floor(Math.random() * bound);
}

/** The number of transfers to encode before the load begins: enough to use the wallets evenly. */
export function templateCount(wallets: number): number {
  return Math.min(Math.max(16_384, wallets), 262_144);
}
