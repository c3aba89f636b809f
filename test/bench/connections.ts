import { connect, type ClientHttp2Session } from "node:http2";

const STREAMS_PER_CONNECTION_MAX = 512;
const CONNECTIONS_MIN = 4;
const WINDOW_BYTES = 16 * 1024 * 1024;

/** An HTTP/2 connection to a server, reopened when it breaks. */
export class Connection {
  readonly #address: string;
  #session: ClientHttp2Session;

  constructor(address: string, session: ClientHttp2Session) {
    this.#address = address;
    this.#session = session;
  }

  get session(): ClientHttp2Session {
    if (this.#session.closed || this.#session.destroyed) this.#session = newSession(this.#address);
    return this.#session;
  }

  close(): void {
    this.#session.destroy();
  }
}

function newSession(address: string): ClientHttp2Session {
  const session = connect(`http://${address}`, { settings: { enablePush: false, initialWindowSize: WINDOW_BYTES } });
  session.once("connect", () => session.setLocalWindowSize(WINDOW_BYTES));
  // Each call on it gets the error too.
  session.on("error", () => undefined);
  return session;
}

/** Returns the address of each connection for this many concurrent calls: all addresses in turn. */
export function spreadConnections(addresses: readonly string[], inFlight: number): string[] {
  const count = Math.max(Math.min(CONNECTIONS_MIN, inFlight), Math.ceil(inFlight / STREAMS_PER_CONNECTION_MAX));
  const ofEach = Math.ceil(count / addresses.length);
  return Array.from({ length: ofEach }, () => addresses).flat();
}

/** Opens connections for this many concurrent calls. */
export async function openConnections(addresses: readonly string[], inFlight: number): Promise<Connection[]> {
  return Promise.all(
    spreadConnections(addresses, inFlight).map(async (address) => {
      const session = newSession(address);
      await new Promise<void>((resolve, reject) => {
        // The settings contain the server's limit of concurrent streams.
        session.once("remoteSettings", () => resolve());
        session.once("error", reject);
      });
      return new Connection(address, session);
    }),
  );
}

/** Returns the headers of a gRPC call. */
export function callHeaders(path: string, deadlineMs: number): Record<string, string> {
  return {
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    "grpc-timeout": `${deadlineMs}m`,
  };
}
