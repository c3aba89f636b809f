import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import type { Failure } from "../../base/failure.js";
import type { UnitOfWork } from "../command/command.js";
import type { Outcome } from "../post/outcome.js";

// How two servers of one ledger talk: each proves that it has read the lease, and then sends values in frames: a length and as many
// bytes.

/** The number of a unit on its wire. */
export type UnitNumber = number;

/** What a front sends: units to post, the numbers of those whose callers have left, and that there will be no more units. */
export type ToPoster =
  | { readonly kind: "UNITS"; readonly units: readonly (readonly [UnitNumber, UnitOfWork])[] }
  | { readonly kind: "GONE"; readonly numbers: readonly UnitNumber[] }
  | { readonly kind: "LAST" };

/** The answer to a unit: an outcome for each of its commands, or the failure of the whole. */
export type Answer = readonly Outcome[] | Failure;

/** What the poster sends: answers, that it lives, and that it takes no more units. */
export type ToFront =
  | { readonly kind: "ANSWERS"; readonly answers: readonly (readonly [UnitNumber, Answer])[] }
  | { readonly kind: "ALIVE" }
  | { readonly kind: "CLOSING" };

/** A wire for values. A frame that is too large destroys it. */
export interface Wire<Sent> {
  send(value: Sent): void;
  /** The bytes that were sent and not yet taken by the network. */
  readonly unsentBytes: number;
}

/** The most bytes of a frame: a message of the largest size, as values. */
const FRAME_BYTES_MAX = 256 * 1024 * 1024;
const LENGTH_BYTES = 4;

/** How values become bytes. */
interface Codec<Sent, Received> {
  encode(value: Sent): Buffer;
  decode(bytes: Buffer): Received;
}

/**
 * Sends and receives values over a socket whose handshake is done.
 * @param onValue is called with each value that arrives, as long as the socket is open
 * @param onFault receives errors of the codec, and frames that exceed the bound
 */
export function createWire<Sent, Received>(
  socket: Socket,
  { encode, decode }: Codec<Sent, Received>,
  onValue: (value: Received) => void,
  onFault: (error: unknown) => void,
): Wire<Sent> {
  let length: number | undefined;

  function read(): void {
    while (!socket.destroyed) {
      if (length === undefined) {
        const head = socket.read(LENGTH_BYTES) as Buffer | null;
        if (head?.length !== LENGTH_BYTES) return;
        length = head.readUInt32BE();
        if (length === 0 || length > FRAME_BYTES_MAX) {
          onFault(new RangeError("a frame is too large, or empty"));
          socket.destroy();
          return;
        }
      }
      const body = socket.read(length) as Buffer | null;
      if (body?.length !== length) return;
      length = undefined;
      const value = unlessBroken(() => decode(body));
      if (value !== undefined) onValue(value);
    }
  }

  /** Runs a step of the codec. Values that it cannot carry break the wire, and nothing else. */
  function unlessBroken<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      onFault(error);
      socket.destroy();
      return undefined;
    }
  }

  socket.on("readable", read);
  // Frames may have arrived with the handshake.
  setImmediate(read);
  return {
    send: (value) => {
      if (socket.destroyed || socket.writableEnded) return;
      const body = unlessBroken(() => encode(value));
      if (body === undefined) return;
      if (body.length > FRAME_BYTES_MAX) {
        onFault(new RangeError("a frame would be too large"));
        socket.destroy();
        return;
      }
      const head = Buffer.allocUnsafe(LENGTH_BYTES);
      head.writeUInt32BE(body.length);
      socket.cork();
      socket.write(head);
      socket.write(body);
      socket.uncork();
    },
    get unsentBytes() {
      return socket.writableLength;
    },
  };
}

const NONCE_BYTES = 32;
const PROOF_BYTES = 32;

/** Proves to a front that this server holds the lease. Fails if the front has not read it. */
export async function greetFront(socket: Socket, token: Buffer): Promise<void> {
  const nonce = randomBytes(NONCE_BYTES);
  socket.write(nonce);
  const hello = await readExactly(socket, NONCE_BYTES + PROOF_BYTES);
  const nonces = Buffer.concat([nonce, hello.subarray(0, NONCE_BYTES)]);
  assertProof(hello.subarray(NONCE_BYTES), prove(token, "front", nonces));
  socket.write(prove(token, "poster", nonces));
}

/** Proves to the poster that this server has read the lease. Fails if the other does not hold it. */
export async function greetPoster(socket: Socket, token: Buffer): Promise<void> {
  const own = randomBytes(NONCE_BYTES);
  const nonces = Buffer.concat([await readExactly(socket, NONCE_BYTES), own]);
  socket.write(Buffer.concat([own, prove(token, "front", nonces)]));
  assertProof(await readExactly(socket, PROOF_BYTES), prove(token, "poster", nonces));
}

function prove(token: Buffer, role: "front" | "poster", nonces: Buffer): Buffer {
  return createHmac("sha256", token).update(role).update(nonces).digest();
}

function assertProof(proof: Buffer, expected: Buffer): void {
  if (!timingSafeEqual(proof, expected)) throw new Error("the other server has not read the lease");
}

/** Reads so many bytes. The listener stays until they are there: each new one would be called at once for those that are not enough. */
function readExactly(socket: Socket, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      socket.off("readable", take).off("error", reject).off("end", leave).off("close", leave);
      settle();
    };
    const leave = (): void => end(() => reject(new Error("the connection ended during the handshake")));
    const take = (): void => {
      const read = socket.read(bytes) as Buffer | null;
      if (read?.length === bytes) end(() => resolve(read));
      else if (read !== null) leave();
    };
    socket.on("readable", take).on("error", reject).on("end", leave).on("close", leave);
    take();
  });
}
