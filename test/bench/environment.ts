import { migrateUp } from "../../src/db/migrate.js";
import type { Cleanup } from "./cleanup.js";
import { startServing } from "./children.js";
import type { Cluster } from "./databases.js";
import { run } from "./databases.js";
import { createFunctionBaseline, findPgbench, functionBaselineFaults } from "./function-baseline.js";
import { greyConservationFaults, integrityFaults, journalSize, fetchPageToken } from "./grey-books.js";
import { populate, type Population } from "./populate.js";
import { freePort, startServerProcess, type ServerProcess } from "./server-process.js";
import { benchId, ID_SPACE } from "./bench-ids.js";
import { createTypeormBaseline, typeormBaselineFaults } from "./typeorm-books.js";

/** The ledgers that rows are measured on, each in a database of its own. */
export type BooksName =
  "fresh" | "quiet" | "engine" | "large" | "overload" | "other" | "two" | "three" | "function" | "typeorm";

/** A ledger: its location and its integrity checks. */
export interface Books {
  readonly url: string;
  /** Counts the recorded transactions. */
  recorded(): Promise<number>;
  /** Finds violations of conservation; empty if there are none. */
  faults(): Promise<string[]>;
  /** Finds violations of all laws, however long it takes. */
  allFaults(): Promise<string[]>;
  /** The gRPC server on it, if any. */
  readonly server?: { readonly address: string; readonly pid: number };
  /** Other servers on it, which hand their postings over to that one. */
  readonly fronts?: readonly { readonly address: string; readonly pid: number }[];
}

/** The sizes of the ledgers. */
export interface Scale {
  /** The number of wallets in the fresh ledger and in each baseline. */
  readonly wallets: number;
  readonly fresh: Population;
  readonly large: Population;
}

const PAGE_SIZE = 50;
const DEEP_PAGE = 1_000;
/** Two wallets with a history long enough for page 1,000, in the fresh and in the large ledger. */
const DEEP_TRANSFERS = DEEP_PAGE * PAGE_SIZE + 5_000;

export const SCALE: Scale = {
  wallets: 10_000,
  fresh: { wallets: 10_000, rounds: 2, deepTransfers: DEEP_TRANSFERS },
  large: { wallets: 1_000_000, rounds: 8, deepTransfers: DEEP_TRANSFERS },
};
/** The history of ledgers without reads. */
export const SMALL_SCALE: Scale = { ...SCALE, fresh: { wallets: 10_000, rounds: 2, deepTransfers: 0 } };

/** Larger ledgers are checked in full at the end only, in transactions. */
const CHECK_EACH_ROUND_MAX = 150_000;

/** The environment of the rows. */
export interface Environment {
  readonly cleanup: Cleanup;
  /** The folder for files of this run. */
  readonly folder: string;
  readonly cluster: Cluster;
  readonly scale: Scale;
  /** pgbench's version, if it is installed. */
  readonly pgbench: string | undefined;
  readonly books: ReadonlyMap<BooksName, Books>;
  /** The token of page 1,000 of the deep wallet's transactions. */
  pageToken(name: BooksName): string;
  readonly pageSize: number;
  /** The time of the deep wallet's last 1,000 entries, in microseconds since 1970. */
  statementFrom(name: BooksName): string;
  /** Returns the resident memory of the server on this ledger. */
  rssBytes(name: BooksName): number;
  /** Stops the servers, so that their CPU profiles are written. */
  stopServers(): Promise<void>;
}

/** Returns the ledger with this name. */
export function findLedger(environment: Environment, name: BooksName): Books {
  const books = environment.books.get(name);
  if (books === undefined) throw new Error(`the books "${name}" were not made`);
  return books;
}

/** Returns the server on the ledger with this name. */
export function findServer(
  environment: Environment,
  name: BooksName,
): { readonly address: string; readonly pid: number } {
  const { server } = findLedger(environment, name);
  if (server === undefined) throw new Error(`the books "${name}" have no server`);
  return server;
}

/** Lists the processes whose CPU time is measured besides the client's. */
export function watchedPids(
  { cluster }: Environment,
  server?: { readonly pid: number },
  fronts: readonly { readonly pid: number }[] = [],
): Record<string, number> {
  return {
    ...(cluster.pid !== undefined && { postgres: cluster.pid }),
    ...(server !== undefined && { server: server.pid }),
    ...Object.fromEntries(fronts.map(({ pid }, index) => [`${FRONT}${index}`, pid])),
  };
}

/** The prefix of the names of processes that are fronts. */
export const FRONT = "front-";

export interface EnvironmentOptions {
  readonly cleanup: Cleanup;
  readonly folder: string;
  readonly cluster: Cluster;
  /** The PostgreSQL of the ledger "other". */
  readonly other: Cluster | undefined;
  readonly scale: Scale;
  readonly names: ReadonlySet<BooksName>;
  readonly needsDeepPage: boolean;
  readonly profileDir: string | undefined;
  readonly onProgress: (text: string) => void;
}

/** Creates the required databases, populates them, and starts the servers on them. */
export async function prepare(options: EnvironmentOptions): Promise<Environment> {
  const { cleanup, folder, cluster, other, scale, names, onProgress } = options;
  const books = new Map<BooksName, Books>();
  const tokens = new Map<BooksName, string>();
  const statementsFrom = new Map<BooksName, string>();
  const running = new Map<BooksName, ServerProcess>();

  async function startOn(name: BooksName, url: string): Promise<ServerProcess> {
    const server = await startServerProcess(cleanup, {
      name,
      databaseUrl: url,
      folder,
      profileDir: options.profileDir,
      settings: name === "quiet" ? { GREY_LOG_LEVEL: "warn" } : {},
    });
    running.set(name, server);
    return server;
  }

  /** Starts servers of which the first posts for the others. */
  async function addSharing(name: "two" | "three", url: string): Promise<void> {
    const start = async (role: string, readyLine: string): Promise<ServerProcess> =>
      startServerProcess(cleanup, {
        name: `${name}-${role}`,
        databaseUrl: url,
        folder,
        readyLine,
        profileDir: options.profileDir,
        settings: { GREY_PEER_ADDRESS: `127.0.0.1:${await freePort()}` },
      });
    const server = await start("poster", "posting for all servers");
    const fronts: ServerProcess[] = [];
    while (fronts.length < SHARING[name] - 1)
      fronts.push(await start(`front-${fronts.length}`, "handing postings over"));
    books.set(name, { ...greyBooks(url, server, () => Promise.resolve(server)), fronts });
  }

  async function addGrey(name: BooksName, url: string): Promise<void> {
    const server = name === "engine" ? undefined : await startOn(name, url);
    books.set(
      name,
      greyBooks(url, server, () => startOn(name, url)),
    );
    if (options.needsDeepPage && server !== undefined && (name === "fresh" || name === "large")) {
      const { wallets } = name === "large" ? scale.large : scale.fresh;
      tokens.set(name, await fetchPageToken(server.address, wallets, DEEP_PAGE, PAGE_SIZE));
      const [line] = await run<{ micros: string }>(url, STATEMENT_FROM, [benchId(ID_SPACE.WALLET, wallets)]);
      statementsFrom.set(name, line?.micros ?? "0");
    }
  }

  const greyNames = (["fresh", "quiet", "engine", "overload"] as const).filter((name) => names.has(name));
  const sharingNames = (["two", "three"] as const).filter((name) => names.has(name));
  if (greyNames.length + sharingNames.length > 0) {
    onProgress(`making books with ${scale.fresh.wallets} wallets`);
    const template = await cluster.createDatabase("template");
    await migrateUp(template);
    await populate(template, scale.fresh);
    for (const name of greyNames) await addGrey(name, await cluster.createDatabase(name, "template"));
    for (const name of sharingNames) await addSharing(name, await cluster.createDatabase(name, "template"));
  }
  if (names.has("other") && other !== undefined) {
    onProgress(`making books on the other one (${other.about})`);
    const url = await other.createDatabase("other");
    await migrateUp(url);
    await populate(url, { ...scale.fresh, deepTransfers: 0 });
    await addGrey("other", url);
  }
  if (names.has("large")) {
    onProgress(`making books with ${scale.large.wallets} wallets, which takes a minute or two`);
    const url = await cluster.createDatabase("large");
    await migrateUp(url);
    await populate(url, scale.large, (what) => onProgress(`  ${what}`));
    await addGrey("large", url);
  }
  if (names.has("function")) {
    const url = await cluster.createDatabase("function");
    await createFunctionBaseline(url, scale.wallets);
    const faults = () => functionBaselineFaults(url, scale.wallets);
    books.set("function", { url, recorded: () => countTransactions(url), faults, allFaults: faults });
  }
  if (names.has("typeorm")) {
    const url = await cluster.createDatabase("typeorm");
    await createTypeormBaseline(url, scale.wallets);
    const server = await startServing(cleanup, "baseline-typeorm.js", [url]);
    const faults = () => typeormBaselineFaults(url, scale.wallets);
    books.set("typeorm", { url, server, recorded: () => countTransactions(url), faults, allFaults: faults });
  }
  return {
    cleanup,
    folder,
    cluster,
    scale,
    books,
    pgbench: await findPgbench(),
    pageToken: (name) => tokens.get(name) ?? "",
    statementFrom: (name) => statementsFrom.get(name) ?? "0",
    pageSize: PAGE_SIZE,
    rssBytes: (name) => running.get(name)?.rssBytes() ?? 0,
    stopServers: async () => {
      for (const server of running.values()) await server.stop();
    },
  };
}

/** The number of servers of a ledger that several share. */
const SHARING = { two: 2, three: 3 } as const;

const STATEMENT_FROM = `
SELECT (extract(epoch FROM create_time) * 1000000)::bigint::text AS micros FROM entries
WHERE account_id = $1 ORDER BY sequence DESC OFFSET 999 LIMIT 1`;

function greyBooks(url: string, server: ServerProcess | undefined, startServer: () => Promise<ServerProcess>): Books {
  // The engine's ledger has no server until it is checked.
  const allFaults = async (): Promise<string[]> => integrityFaults((server ?? (await startServer())).address);
  return {
    url,
    ...(server !== undefined && { server }),
    recorded: () => journalSize(url),
    faults: async () => {
      const isSmall = (await journalSize(url)) <= CHECK_EACH_ROUND_MAX;
      return [...(await greyConservationFaults(url)), ...(isSmall && server !== undefined ? await allFaults() : [])];
    },
    allFaults,
  };
}

async function countTransactions(url: string): Promise<number> {
  const [row] = await run<{ n: string }>(url, "SELECT count(*) AS n FROM transactions");
  return Number(row?.n ?? 0);
}
