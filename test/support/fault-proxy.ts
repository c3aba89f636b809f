import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

// A TCP proxy in front of PostgreSQL that does to connections what networks do, at a byte or at a statement. It reads the
// wire protocol as far as it must. Source: PostgreSQL manual, chapter "Frontend/Backend Protocol".

/** A statement that a session is about to run. */
export interface Statement {
  readonly sql: string;
  /** Whether the session has opened a transaction before. */
  readonly isInTransaction: boolean;
  /** Whether it has inserted, updated, deleted or called a posting function in that transaction. */
  readonly hasWritten: boolean;
}

export type Predicate = (statement: Statement) => boolean;

const BEGIN = /^\s*(BEGIN|START\s+TRANSACTION)\b/i;
const COMMIT = /(^|;)\s*COMMIT\b[^;]*;?\s*$/i;
const ROLLBACK = /^\s*(ROLLBACK(?!\s+TO\b)|ABORT)\b/i;
const WRITE = /\b(INSERT\s+INTO|DELETE\s+FROM|(?<!\b(FOR|KEY)\s+)UPDATE)\b/i;
const POST = /\bpost_/i;

/** The statement after which a write lasts: the COMMIT of a transaction that wrote, or a write that commits by itself. */
export function makesWriteLast({ sql, isInTransaction, hasWritten }: Statement): boolean {
  if (COMMIT.test(sql)) return hasWritten || POST.test(sql);
  return !isInTransaction && !BEGIN.test(sql) && (WRITE.test(sql) || POST.test(sql));
}

/** Of the statements that match, every n-th. */
export function everyNth(n: number, matches: Predicate): Predicate {
  let count = 0;
  return (statement) => {
    if (!matches(statement)) return false;
    count += 1;
    return count % n === 0;
  };
}

/**
 * What becomes of a statement:
 *   RESET_BEFORE  it never reaches PostgreSQL; the connection is reset
 *   LOSE_REPLY    PostgreSQL runs it; once its reply is there, the connection is reset instead of passing it on
 *   ZOMBIE        the caller's side is reset at once; PostgreSQL's side stays, and gets the statement at release()
 */
export type Effect = "RESET_BEFORE" | "LOSE_REPLY" | "ZOMBIE";

export interface TrapOptions {
  /** How often it springs; 1 unless given. */
  readonly times?: number;
  /** LOSE_REPLY: which ReadyForQuery after the statement is lost, 1 being the statement's own. */
  readonly reply?: number;
}

/** Lies in wait for statements. */
export interface Trap {
  /** Resolves when it has sprung as often as it may: each connection is cut, and a reply to be lost had arrived. */
  readonly sprung: Promise<void>;
  /** How often it has done its harm so far. */
  readonly count: number;
  /** Lets the zombies run their statements; resolves once PostgreSQL has answered or left. */
  release(): Promise<void>;
  disarm(): void;
}

export interface FaultProxy {
  /** The database's URL through the proxy. */
  readonly url: string;
  /** How many connections clients have open. */
  readonly connectionCount: number;
  trap(matches: Predicate, effect: Effect, options?: TrapOptions): Trap;
  /** Each way, for what is sent from now on. */
  setLatencyMs(latencyMs: number): void;
  /** Nothing passes any more, on old and new connections; nobody is told. */
  blackHole(): void;
  /** Everything passes again, what was sent in between first. */
  thaw(): void;
  /** New connections pass; those that were in the hole stay silent, as after a firewall forgot them. */
  forget(): void;
  /** The connections of these applications fall silent for ever, as after a firewall forgot them; new ones pass. */
  silence(matches: (applicationName: string) => boolean): void;
  /** Cuts all connections. */
  resetAll(): void;
  /** Cuts all connections and lets none in: nobody listens. */
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

  /** Whether the statement is caught. */
  catches(statement: Statement): boolean {
    if (this.#caught >= this.#times || !this.matches(statement)) return false;
    this.#caught += 1;
    return true;
  }

  /** The harm is done. */
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

/** What a session is about to do to the statement that its trap caught. */
interface Caught {
  readonly trap: ArmedTrap;
  /** LOSE_REPLY: the ReadyForQuery, counted from the session's first, that is lost with all that leads to it. */
  readonly lostReady: number;
  /** ZOMBIE: what PostgreSQL is to get at the release. */
  readonly held: Buffer[];
}

/** One connection of a client and the one to PostgreSQL that belongs to it. */
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
  /** How many ReadyForQuery the client is owed since it connected, and how many came. */
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
      // A cut connection is what the proxy is for; "close" follows.
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
      // Without its Sync an extended statement would not be committed.
      if (endsRequest) this.#spring();
    }
  }

  /** Takes note of the statement, and catches it if a trap waits for it. */
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

/** One direction of a connection: passes bytes on late or, while it is stalled, not at all. */
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

/** One whole message: its type's letter, or what it is before there are types. */
interface Frame {
  readonly type: string;
  /** All of it, with type and length. */
  readonly bytes: Buffer;
}

/** Cuts a byte stream into whole messages, whatever the pieces are that it comes in. */
class Frames {
  #pending: Buffer = Buffer.alloc(0);
  #bytesExpected = 0;

  /** @param isTyped whether messages start with a letter; a client's do so only after its StartupMessage */
  constructor(public isTyped: boolean) {}

  /** PostgreSQL answers a request for encryption with one byte that is no message. */
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

  /** Of the message that comes next, in bytes; Infinity while that is not known. */
  #nextLength(): number {
    if (this.#bytesExpected > 0) return 1;
    const lengthAt = this.isTyped ? 1 : 0;
    return this.#pending.length < lengthAt + 4 ? Infinity : lengthAt + this.#pending.readInt32BE(lengthAt);
  }
}

/** The text of each prepared statement and portal of a session. */
class Texts {
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, string>();

  /** The SQL that the message runs, if it runs any. */
  read({ type, bytes }: Frame): string | undefined {
    const [first = "", second = ""] = "QPBE".includes(type) ? textsOf(bytes.subarray(5)) : [];
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

/** The first two zero-terminated texts of a message's body. */
function textsOf(body: Buffer): readonly string[] {
  const firstEnd = body.indexOf(0);
  const secondEnd = body.indexOf(0, firstEnd + 1);
  return [body.toString("utf8", 0, firstEnd), secondEnd < 0 ? "" : body.toString("utf8", firstEnd + 1, secondEnd)];
}
