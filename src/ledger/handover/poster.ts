import { createServer, type Server, type Socket } from "node:net";
import type { CallerContext } from "../../base/caller-context.js";
import { fail, FailureError } from "../../base/failure.js";
import { splitAddress } from "../../config/address.js";
import { SettingError } from "../../config/config.js";
import type { UnitOfWork } from "../command/command.js";
import type { Engine } from "../post/engine.js";
import { createBunch } from "./bunch.js";
import { decodeToPoster, encodeToFront } from "./codec.js";
import {
  createWire,
  greetFront,
  type Answer,
  type ToFront,
  type ToPoster,
  type UnitNumber,
  type Wire,
} from "./wire.js";

/** The listener for the servers that hand units of work over to this one while it holds the lease. */
export interface Poster {
  /** Begins a term: takes units from servers that know its secret. */
  open(token: Buffer): void;
  /** Ends the term at once: units that wait in the queue are not posted, and their fronts post them. */
  close(): void;
  /** Tells the fronts that this server lives. */
  showLife(): void;
  /** Asks the fronts to hand over no more, answers what they have handed over, and stops listening. */
  stop(timeoutMs: number): Promise<void>;
}

export interface PosterOptions {
  /** host:port to listen on. */
  readonly address: string;
  readonly handshakeMs: number;
  /** The most bytes of answers that a front leaves unread. */
  readonly unsentBytesMax: number;
  /** Reports whether this server posts for others now. */
  readonly isServing: () => boolean;
  /** Receives errors that Grey does not know. */
  readonly onFault: (error: unknown) => void;
}

/** More fronts than any ledger has. */
const CONNECTIONS_MAX = 256;

/** Starts to listen. @throws SettingError */
export async function listenForFronts(engine: Engine, options: PosterOptions): Promise<Poster> {
  const sockets = new Set<Socket>();
  /** The wires of fronts that have proven themselves. */
  const fronts = new Set<Wire<ToFront>>();
  let token: Buffer | undefined;
  let isStopping = false;

  async function accept(socket: Socket): Promise<void> {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
    if (token === undefined || isStopping) {
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => socket.destroy(new Error("the handshake takes too long")), options.handshakeMs);
    try {
      await greetFront(socket, token);
      serve(socket);
    } catch {
      socket.destroy();
    } finally {
      clearTimeout(timer);
    }
  }

  function serve(socket: Socket): void {
    const gone = new Set<UnitNumber>();
    const unanswered = new Set<UnitNumber>();
    let isLast = false;
    const wire = createWire(socket, { encode: encodeToFront, decode: decodeToPoster }, take, options.onFault);
    const answer = createBunch<readonly [UnitNumber, Answer]>((answers) => {
      wire.send({ kind: "ANSWERS", answers });
      for (const [number] of answers) unanswered.delete(number);
      if (wire.unsentBytes > options.unsentBytesMax) socket.destroy();
      endIfLast();
    });
    fronts.add(wire);
    if (isStopping) wire.send({ kind: "CLOSING" });
    socket.on("close", () => fronts.delete(wire));
    // A front that ends without having said so is gone: what waits is not posted for it.
    socket.on("end", () => {
      if (!isLast) socket.destroy();
    });

    function endIfLast(): void {
      if (isLast && unanswered.size === 0) socket.end();
    }

    function take(value: ToPoster): void {
      if (value.kind === "GONE") {
        for (const number of value.numbers) if (unanswered.has(number)) gone.add(number);
        return;
      }
      if (value.kind === "LAST") {
        isLast = true;
        return endIfLast();
      }
      for (const [number, unit] of value.units) {
        unanswered.add(number);
        post(number, unit).catch(options.onFault);
      }
    }

    async function post(number: UnitNumber, unit: UnitOfWork): Promise<void> {
      const context: CallerContext = {
        assertWaiting: () => {
          if (socket.destroyed || gone.has(number) || !options.isServing()) fail({ reason: "CALLER_GONE" });
        },
      };
      try {
        answer([number, await engine.post(unit, context)]);
      } catch (error) {
        if (!(error instanceof FailureError)) options.onFault(error);
        const failure = error instanceof FailureError ? error.failure : ({ reason: "INTERNAL" } as const);
        // What waited when the term ended is given back.
        if (!options.isServing()) socket.destroy();
        else answer([number, failure]);
        // The front may reach the database although this server does not.
        if (failure.reason === "DATABASE_UNAVAILABLE") wire.send({ kind: "CLOSING" });
      } finally {
        gone.delete(number);
      }
    }
  }

  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accept(socket).catch(options.onFault);
  });
  server.maxConnections = CONNECTIONS_MAX;
  await listen(server, options.address);

  function close(): void {
    token = undefined;
    for (const socket of sockets) socket.destroy(new Error("the term has ended"));
  }

  return {
    open: (next) => {
      if (token?.equals(next) === true) return;
      close();
      token = next;
    },
    close,
    showLife: () => {
      for (const wire of fronts) wire.send({ kind: "ALIVE" });
    },
    stop: async (timeoutMs) => {
      isStopping = true;
      for (const wire of fronts) wire.send({ kind: "CLOSING" });
      const timer = setTimeout(close, timeoutMs);
      const idle = [...sockets].map((socket) => new Promise((resolve) => socket.on("close", resolve)));
      await Promise.all(idle);
      clearTimeout(timer);
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function listen(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(new SettingError(`GREY_PEER_ADDRESS: cannot listen on ${address} (${error.message})`));
    });
    server.listen(splitAddress(address), () => {
      server.removeAllListeners("error").on("error", () => undefined);
      resolve();
    });
  });
}
