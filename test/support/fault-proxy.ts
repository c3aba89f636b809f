import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

// A TCP proxy in front of PostgreSQL that injects network faults at a byte or at a statement. It parses the wire protocol as far
// as necessary. Source: PostgreSQL manual, chapter "Frontend/Backend Protocol".

/** A statement that a session is about to run. */
export interface Statement {
  readonly sql: string;
  /** True within an explicit transaction. */
  readonly isInTransaction: boolean;
  /** True if that transaction has inserted, updated, deleted or called a posting function. */
  readonly hasWritten: boolean;
}

export type Predicate = (statement: Statement) => boolean;

const BEGIN = /^\s*(BEGIN|START\s+TRANSACTION)\b/i;
const COMMIT = /(^|;)\s*COMMIT\b[^;]*;?\s*$/i;
const ROLLBACK = /^\s*(ROLLBACK(?!\s+TO\b)|ABORT)\b/i;
const WRITE = /\b(INSERT\s+INTO|DELETE\s+FROM|(?<!\b(FOR|KEY)\s+)UPDATE)\b/i;
const POST = /\bpost_/i;

/** Returns true for a statement that commits a write: COMMIT of a transaction that wrote, or an autocommitted write. */
export function makesWriteLast({ sql, isInTransaction, hasWritten }: Statement): boolean {
  if (COMMIT.test(sql)) return hasWritten || POST.test(sql);
  return !isInTransaction && !BEGIN.test(sql) && (WRITE.test(sql) || POST.test(sql));
}

/** Matches every n-th of the matching statements. */
export function everyNth(n: number, matches: Predicate): Predicate {
  let count = 0;
  return (statement) => {
    if (!matches(statement)) return false;
    count += 1;
    return count % n === 0;
  };
}

/**
 * The fault of a statement:
 *   RESET_BEFORE  it never reaches PostgreSQL; the connection is reset
 *   LOSE_REPLY    PostgreSQL runs it; when its reply arrives, the connection is reset instead of forwarding it
 *   ZOMBIE        the client's side is reset at once; PostgreSQL's side stays and receives the statement at release()
 */
export type Effect = "RESET_BEFORE" | "LOSE_REPLY" | "ZOMBIE";

export interface TrapOptions {
  /** The number of times it triggers, by default 1. */
  readonly times?: number;
  /** LOSE_REPLY: the ReadyForQuery to lose after the statement; 1 is the statement's own. */
  readonly reply?: number;
}

/** A trap for statements. */
export interface Trap {
  /** Resolves when it has triggered the last time: each connection is cut, and a reply to be lost has arrived. */
  readonly sprung: Promise<void>;
  /** The number of faults so far. */
  readonly count: number;
  /** Lets the zombies run their statements; resolves once PostgreSQL has answered or disconnected. */
  release(): Promise<void>;
  disarm(): void;
}

export interface FaultProxy {
  /** The database's URL through the proxy. */
  readonly url: string;
  /** Returns the number of open client connections. */
  readonly connectionCount: number;
  trap(matches: Predicate, effect: Effect, options?: TrapOptions): Trap;
  /** Sets the delay in each direction for data sent from now on. */
  setLatencyMs(latencyMs: number): void;
  /** Silently drops everything, on old and new connections. */
  blackHole(): void;
  /** Resumes forwarding, starting with what was sent in between. */
  thaw(): void;
  /** Forwards new connections; stalled ones stay silent, as if a firewall had forgotten them. */
  forget(): void;
  /** Silences the connections of these applications for ever, as if a firewall had forgotten them; forwards new ones. */
  silence(matches: (applicationName: string) => boolean): void;
  /** Cuts all connections. */
  resetAll(): void;
  /** Cuts all connections and stops listening. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a proxy on 127.0.0.1 in front of the database of the URL. */
export async function startFaultProxy(databaseUrl: string): Promise<FaultProxy> {
  const target = new URL(databaseUrl);
  const weather: Weather = { latencyMs: 0, isBlackHole: false, traps: [] };
  const sessions = new Set<Session>();
  const listen = async (port: number): Promise<Server> => {
    const listening = createServer((client) => {
      const session = new Session(client, connect(Number(target.port || "5432"), target.hostname), weather);
      sessions.add(session);
      session.onClosed = () => sessions.delete(session);
    });
    listening.listen(port, "127.0.0.1");
    await once(listening, "listening");
    return listening;
  };
  const resetAll = (): void => {
    for (const session of sessions) session.reset();
  };
  const close = async (): Promise<void> => {
    const closed = server.listening ? once(server, "close") : undefined;
    server.close();
    resetAll();
    await closed;
  };
  let server = await listen(0);
  const { port } = server.address() as AddressInfo;
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = `${port}`;
  return {
    url: url.href,
    get connectionCount() {
      return [...sessions].filter((session) => session.hasClient).length;
    },
    trap: (matches, effect, options = {}) => {
      const trap = new ArmedTrap(matches, effect, options, (gone) => {
        weather.traps = weather.traps.filter((other) => other !== gone);
      });
      weather.traps = [...weather.traps, trap];
      return trap;
    },
    setLatencyMs: (latencyMs) => {
      weather.latencyMs = latencyMs;
    },
    blackHole: () => {
      weather.isBlackHole = true;
      for (const session of sessions) session.stall();
    },
    thaw: () => {
      weather.isBlackHole = false;
      for (const session of sessions) session.thaw();
    },
    forget: () => {
      weather.isBlackHole = false;
    },
    silence: (matches) => {
      for (const session of sessions) if (matches(session.applicationName)) session.stall();
    },
    resetAll,
    refuse: close,
    accept: async () => {
      server = await listen(port);
    },
    stop: close,
  };
}

interface Weather {
  latencyMs: number;
  isBlackHole: boolean;
  traps: readonly ArmedTrap[];
}

class ArmedTrap implements Trap {
  readonly sprung: Promise<void>;
  readonly #zombies: (() => Promise<void>)[] = [];
  #hasSprung: () => void = () => undefined;
  #caught = 0;
  #count = 0;

  constructor(
    readonly matches: Predicate,
    readonly effect: Effect,
    readonly options: TrapOptions,
    readonly onDisarm: (trap: ArmedTrap) => void,
  ) {
    this.sprung = new Promise((resolve) => {
      this.#hasSprung = resolve;
    });
  }

  get count(): number {
    return this.#count;
  }

  get #times(): number {
    return this.options.times ?? 1;
  }

  /** Returns true if the statement is trapped. */
  catches(statement: Statement): boolean {
    if (this.#caught >= this.#times || !this.matches(statement)) return false;
    this.#caught += 1;
    return true;
  }

  /** Records a fault. */
  spring(zombie?: () => Promise<void>): void {
    if (zombie !== undefined) this.#zombies.push(zombie);
    this.#count += 1;
    if (this.#count < this.#times) return;
    this.onDisarm(this);
    this.#hasSprung();
  }

  async release(): Promise<void> {
    await Promise.all(this.#zombies.splice(0).map((run) => run()));
  }

  disarm(): void {
    this.onDisarm(this);
  }
}

/** The pending fault of a trapped statement. */
interface Caught {
  readonly trap: ArmedTrap;
  /** LOSE_REPLY: the ReadyForQuery to lose with everything before it, counted from the session's first. */
  readonly lostReady: number;
  /** ZOMBIE: the data that PostgreSQL receives at release(). */
  readonly held: Buffer[];
}

/** A client's connection and its connection to PostgreSQL. */
class Session {
  onClosed: () => void = () => undefined;
  applicationName = "";
  readonly #toServer: Lane;
  readonly #toClient: Lane;
  readonly #fromClient = new Frames(false);
  readonly #fromServer = new Frames(true);
  readonly #texts = new Texts();
  #isInTransaction = false;
  #hasWritten = false;
  /** The numbers of expected and received ReadyForQuery since the client connected. */
  #readyDue = 0;
  #readyCount = 0;
  #caught: Caught | undefined;

  constructor(
    readonly client: Socket,
    readonly server: Socket,
    readonly weather: Weather,
  ) {
    this.#toServer = new Lane(server, weather);
    this.#toClient = new Lane(client, weather);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // Cut connections are expected; "close" follows.
      socket.on("error", () => undefined);
    }
    client.on("data", (chunk: Buffer) => {
      for (const frame of this.#fromClient.cut(chunk)) this.#fromClientFrame(frame);
    });
    server.on("data", (chunk: Buffer) => {
      for (const frame of this.#fromServer.cut(chunk)) this.#fromServerFrame(frame);
    });
    client.on("close", () => {
      if (this.#caught?.trap.effect !== "ZOMBIE") this.#toServer.end();
      this.#closedIfBoth();
    });
    server.on("close", () => {
      this.#toClient.end();
      this.#closedIfBoth();
    });
  }

  get hasClient(): boolean {
    return !this.client.closed;
  }

  stall(): void {
    this.#toServer.stall();
    this.#toClient.stall();
  }

  thaw(): void {
    this.#toServer.thaw();
    this.#toClient.thaw();
  }

  reset(): void {
    this.client.resetAndDestroy();
    this.server.resetAndDestroy();
  }

  #closedIfBoth(): void {
    if (this.client.closed && this.server.closed) this.onClosed();
  }

  #fromClientFrame(frame: Frame): void {
    if (frame.type === "STARTUP") {
      const code = frame.bytes.readInt32BE(4);
      if (code === SSL_REQUEST || code === GSSENC_REQUEST) this.#fromServer.expectByte();
      else if (code >> 16 === 3) {
        this.#fromClient.isTyped = true;
        this.#readyDue = 1;
        this.applicationName = /\0application_name\0([^\0]*)\0/.exec(frame.bytes.toString("utf8"))?.[1] ?? "";
      }
    }
    const sql = this.#texts.read(frame);
    const endsRequest = frame.type === "Q" || frame.type === "S";
    if (endsRequest) this.#readyDue += 1;
    if (sql !== undefined) this.#run(sql, endsRequest);
    if (this.#caught === undefined || this.#caught.trap.effect === "LOSE_REPLY") this.#toServer.send(frame.bytes);
    else if (this.#caught.trap.effect === "RESET_BEFORE") this.#spring();
    else {
      this.#caught.held.push(frame.bytes);
      // An extended statement commits at its Sync.
      if (endsRequest) this.#spring();
    }
  }

  /** Records the statement, and traps it if a trap matches. */
  #run(sql: string, endsRequest: boolean): void {
    const statement = { sql, isInTransaction: this.#isInTransaction, hasWritten: this.#hasWritten };
    if (this.#caught === undefined) {
      const trap = this.weather.traps.find((one) => one.catches(statement));
      if (trap !== undefined) {
        const ownReady = endsRequest ? this.#readyDue : this.#readyDue + 1;
        this.#caught = { trap, lostReady: ownReady + (trap.options.reply ?? 1) - 1, held: [] };
      }
    }
    if (BEGIN.test(sql)) this.#isInTransaction = true;
    if (this.#isInTransaction && (WRITE.test(sql) || POST.test(sql))) this.#hasWritten = true;
    if (COMMIT.test(sql) || ROLLBACK.test(sql)) {
      this.#isInTransaction = false;
      this.#hasWritten = false;
    }
  }

  #fromServerFrame(frame: Frame): void {
    const caught = this.#caught;
    const isLost = caught?.trap.effect === "LOSE_REPLY" && this.#readyCount >= caught.lostReady - 1;
    if (frame.type === "Z") this.#readyCount += 1;
    if (!isLost) this.#toClient.send(frame.bytes);
    else if (frame.type === "Z") this.#spring();
  }

  #spring(): void {
    const caught = this.#caught;
    if (caught === undefined) return;
    if (caught.trap.effect !== "ZOMBIE") {
      this.reset();
      caught.trap.spring();
    } else if (!this.client.destroyed) {
      this.client.resetAndDestroy();
      caught.trap.spring(() => this.#releaseZombie(caught));
    }
  }

  async #releaseZombie({ held }: Caught): Promise<void> {
    if (this.server.closed) return;
    const closed = once(this.server, "close");
    const answered = new Promise<void>((resolve) => {
      this.server.on("data", () => {
        if (this.#readyCount >= this.#readyDue) resolve();
      });
    });
    for (const bytes of held) this.#toServer.send(bytes);
    await Promise.race([answered, closed]);
    this.server.destroy();
    await closed;
  }
}

/** One direction of a connection: delays bytes, and holds them back while stalled. */
class Lane {
  readonly #queue: { readonly bytes: Buffer | "END"; readonly dueMs: number }[] = [];
  #isStalled: boolean;
  #lastDueMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly target: Socket,
    readonly weather: Weather,
  ) {
    this.#isStalled = weather.isBlackHole;
    target.on("close", () => clearTimeout(this.#timer));
  }

  send(bytes: Buffer | "END"): void {
    this.#lastDueMs = Math.max(this.#lastDueMs, performance.now() + this.weather.latencyMs);
    this.#queue.push({ bytes, dueMs: this.#lastDueMs });
    this.#flush();
  }

  end(): void {
    this.send("END");
  }

  stall(): void {
    this.#isStalled = true;
  }

  thaw(): void {
    this.#isStalled = false;
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    if (this.#isStalled || this.target.destroyed) return;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const waitMs = next.dueMs - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.#flush(), Math.ceil(waitMs));
        return;
      }
      this.#queue.shift();
      if (next.bytes === "END") this.target.end();
      else this.target.write(next.bytes);
    }
  }
}

const SSL_REQUEST = 80_877_103;
const GSSENC_REQUEST = 80_877_104;

/** A complete message: the letter of its type, or its kind if untyped. */
interface Frame {
  readonly type: string;
  /** All bytes, including type and length. */
  readonly bytes: Buffer;
}

/** Splits a byte stream into complete messages, whatever its chunks are. */
class Frames {
  #pending: Buffer = Buffer.alloc(0);
  #bytesExpected = 0;

  /** @param isTyped true if messages start with a letter; a client's do so only after its StartupMessage */
  constructor(public isTyped: boolean) {}

  /** Expects the single byte with which PostgreSQL answers a request for encryption. */
  expectByte(): void {
    this.#bytesExpected += 1;
  }

  *cut(chunk: Buffer): Generator<Frame> {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (let length = this.#nextLength(); length <= this.#pending.length; length = this.#nextLength()) {
      const bytes = this.#pending.subarray(0, length);
      this.#pending = this.#pending.subarray(length);
      if (this.#bytesExpected > 0) {
        this.#bytesExpected -= 1;
        yield { type: "BYTE", bytes };
      } else {
        yield { type: this.isTyped ? String.fromCharCode(bytes[0] ?? 0) : "STARTUP", bytes };
      }
    }
  }

  /** Returns the length of the next message in bytes; Infinity while unknown. */
  #nextLength(): number {
    if (this.#bytesExpected > 0) return 1;
    const lengthAt = this.isTyped ? 1 : 0;
    return this.#pending.length < lengthAt + 4 ? Infinity : lengthAt + this.#pending.readInt32BE(lengthAt);
  }
}

/** The texts of a session's prepared statements and portals. */
class Texts {
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, string>();

  /** Returns the SQL that the message runs, if any. */
  read({ type, bytes }: Frame): string | undefined {
    const [first = "", second = ""] = "QPBE".includes(type) ? readTexts(bytes.subarray(5)) : [];
    switch (type) {
      case "Q":
        return first;
      case "P":
        this.#statements.set(first, second);
        return undefined;
      case "B":
        this.#portals.set(first, this.#statements.get(second) ?? "");
        return undefined;
      case "E":
        return this.#portals.get(first) ?? "";
      default:
        return undefined;
    }
  }
}

/** Reads the first two zero-terminated texts of a message's body. */
function readTexts(body: Buffer): readonly string[] {
  const firstEnd = body.indexOf(0);
  const secondEnd = body.indexOf(0, firstEnd + 1);
  return [body.toString("utf8", 0, firstEnd), secondEnd < 0 ? "" : body.toString("utf8", firstEnd + 1, secondEnd)];
}
