import { join, resolve } from "node:path";
import { z } from "zod";
import {
  formatAddress,
  isLoopback,
  reachableAddress,
  readAddress,
  readHost,
  readPeerAddress,
  splitAddress,
} from "./address.js";
import { maskDatabaseUrl, readDatabaseUrl } from "./database-url.js";

/** One or more invalid settings. The message, for the operator, names each with its rule. */
export class SettingError extends Error {
  override readonly name = "SettingError";
}

/** The clone or installation folder, which contains package.json. */
export const PROJECT_DIR = resolve(import.meta.dirname, "../../..");

const whole = (min: number, max: number) =>
  z.string().transform((text, context) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    context.addIssue({ code: "custom", message: `must be a whole number from ${min} to ${max}, not ${text}` });
    return z.NEVER;
  });
const port = whole(0, 65_535);
const oneOf = <const T extends readonly string[]>(...choices: T) =>
  z.enum(choices, {
    error: ({ input }) => `must be ${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}, not ${String(input)}`,
  });
const flag = oneOf("true", "false").transform((text) => text === "true");

/** Makes a rule from a parser, whose errors explain the rule and reveal no secrets. */
function readBy(read: (text: string) => string) {
  return z.string().transform((text, context) => {
    try {
      return read(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });
}

/** Makes a rule from a parser that returns undefined for invalid text, with the message that states the rule. */
function readOr(read: (text: string) => string | undefined, message: string) {
  return readBy((text) => {
    const value = read(text);
    if (value === undefined) throw new Error(message);
    return value;
  });
}

const databaseUrl = readBy(readDatabaseUrl);

/** The longest GREY_LEASE_MS. */
export const LEASE_MS_MAX = 60_000;

/** A setting: its rule, its default as an environment variable, and its purpose. */
interface Setting<T> {
  readonly rule: z.ZodType<T>;
  readonly default: string | undefined;
  readonly about: string;
  readonly secret?: true;
}

function setting<T>(rule: z.ZodType<T>, fallback: string | undefined, about: string, secret?: true): Setting<T> {
  return { rule, default: fallback, about, ...(secret && { secret }) };
}

/** Every setting, by the name of its environment variable. */
export const SETTINGS = {
  DATABASE_URL: setting(
    databaseUrl.optional(),
    undefined,
    "URL of a PostgreSQL 15 to 18; unset: an embedded one with its data in GREY_DATA_DIR",
    true,
  ),
  GREY_DATABASE_OWNER_URL: setting(
    databaseUrl.optional(),
    undefined,
    "URL for migrations, as the role that owns the tables; unset: DATABASE_URL",
    true,
  ),
  GREY_DATABASE_ROLE: setting(
    z.string().regex(/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/, "must be a role name of lower-case letters, digits and _"),
    "grey_service",
    "database role of the service's sessions; use a different one for each ledger in a cluster",
  ),
  GREY_DATABASE_POOL_SIZE: setting(whole(3, 1_000), "10", "maximum number of database connections"),
  GREY_DATABASE_CONNECT_TIMEOUT_MS: setting(whole(100, 60_000), "3000", "timeout for a database connection, in ms"),
  GREY_DATABASE_STATEMENT_TIMEOUT_MS: setting(
    whole(100, 3_600_000),
    "15000",
    "timeout of a statement, in ms; integrity checks are exempt",
  ),
  GREY_MIGRATE_ON_START: setting(flag, "true", "`grey serve` migrates the schema before it starts"),
  GREY_DATA_DIR: setting(
    z
      .string()
      .min(1)
      .transform((text) => resolve(text)),
    join(PROJECT_DIR, "data"),
    "data folder of the embedded PostgreSQL: new, empty, or created by Grey",
  ),
  GREY_EMBEDDED_PORT: setting(port, "0", "TCP port of the embedded PostgreSQL on 127.0.0.1; 0: any free port"),
  GREY_HOST: setting(
    readOr(readHost, "must be a host name or an IP address"),
    "127.0.0.1",
    "address to listen on for gRPC",
  ),
  GREY_PORT: setting(port, "50051", "TCP port to listen on for gRPC; 0: any free port"),
  GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: setting(
    flag,
    "false",
    "allow a GREY_HOST or GREY_PEER_ADDRESS other than loopback: anyone who can connect can move all money",
  ),
  GREY_PEER_ADDRESS: setting(
    readOr(
      readPeerAddress,
      "must be host:port at which other servers reach this one, such as 127.0.0.1:50061 or [::1]:50061, and not 0.0.0.0 or [::]",
    ).optional(),
    undefined,
    "address to listen on for the other servers of this ledger, and at which they reach this one, as host:port; then one of them posts for all; unset: this server posts for itself",
  ),
  GREY_LEASE_MS: setting(
    whole(300, LEASE_MS_MAX),
    "3000",
    "time after which the server that posts for all is given up if it is silent, in ms",
  ),
  GREY_REQUEST_BYTES_MAX: setting(whole(1_024, 67_108_864), "4194304", "maximum size of a request message, in bytes"),
  GREY_METADATA_BYTES_MAX: setting(
    whole(1_024, 65_536),
    "16384",
    "maximum size of the request headers, in bytes plus 32 per header; larger ones get INVALID_REQUEST, and beyond 131072 bytes or 2048 headers the transport resets the call or closes the connection",
  ),
  GREY_CONNECTION_STREAMS_MAX: setting(whole(1, 100_000), "1024", "maximum number of concurrent calls per connection"),
  GREY_CONNECTION_OUTGOING_BYTES_MAX: setting(
    whole(1_048_576, 1_073_741_824),
    "33554432",
    "maximum of unsent reply bytes per connection; beyond it, the calls that have been stalled longest are reset",
  ),
  GREY_OUTGOING_BYTES_MAX: setting(
    whole(1_048_576, 68_719_476_736),
    "268435456",
    "maximum of unsent reply bytes of all connections; beyond it, calls of the connection with the most are reset",
  ),
  GREY_CONNECTION_IDLE_MS: setting(
    whole(1_000, 86_400_000),
    "600000",
    "time after which an idle connection is closed, in ms",
  ),
  GREY_CONNECTION_AGE_MS: setting(
    whole(1_000, 86_400_000),
    "3600000",
    "age at which a connection is asked to reconnect, in ms, so that load balancers can rebalance",
  ),
  GREY_CONNECTION_GRACE_MS: setting(
    whole(100, 3_600_000),
    "60000",
    "grace period for calls on such a connection, in ms",
  ),
  GREY_CALLS_IN_FLIGHT_MAX: setting(
    whole(1, 1_000_000),
    "10000",
    "maximum number of calls in flight; more get OVERLOADED",
  ),
  GREY_CALL_WAIT_MS: setting(
    whole(10, 3_600_000),
    "500",
    "target latency under overload, in ms: calls that could not be answered within about this time get OVERLOADED",
  ),
  GREY_CALL_TIMEOUT_MS: setting(whole(100, 3_600_000), "30000", "deadline of calls without one, in ms"),
  GREY_POSTING_QUEUE_MAX: setting(
    whole(1, 10_000_000),
    "20000",
    "maximum number of movements in the posting queue (one call may exceed it alone); more get OVERLOADED",
  ),
  GREY_POSTING_QUEUE_BYTES_MAX: setting(
    whole(65_536, 4_294_967_296),
    "67108864",
    "maximum memory of the posting queue, in bytes (one call may exceed it alone)",
  ),
  GREY_POSTING_BATCH_MAX: setting(
    whole(1, 100_000),
    "2000",
    "maximum number of movements per database transaction; a larger BatchTransfer has one of its own",
  ),
  GREY_POSTING_MEMORY_BYTES: setting(
    whole(65_536, 34_359_738_368),
    "134217728",
    "memory for the accounts that postings are decided from, in bytes: about 80 an account, used as accounts are",
  ),
  GREY_HOLD_EXPIRY_EVERY_MS: setting(
    whole(10, 3_600_000),
    "1000",
    "interval of the sweep for expired holds, in ms; no hold is captured after its expiry in any case",
  ),
  GREY_BACKDATE_MAX_DAYS: setting(
    whole(0, 3_000_000),
    "366",
    "maximum age of an effective time, in days; 0: no backdating",
  ),
  GREY_POSTDATE_MAX_DAYS: setting(
    whole(0, 3_000_000),
    "31",
    "maximum lead of an effective time, in days; 0: no postdating",
  ),
  GREY_READ_WAIT_MS: setting(whole(1, 3_600_000), "5000", "how long a read waits for its min_journal_index, in ms"),
  GREY_JOURNAL_POLL_MS: setting(
    whole(1, 60_000),
    "50",
    "interval of polling the journal while a watch or read waits for it, in ms",
  ),
  GREY_WATCHES_MAX: setting(
    whole(1, 1_000_000),
    "10000",
    "maximum number of open watches and other server streams; more get OVERLOADED",
  ),
  GREY_WATCH_PROGRESS_MS: setting(
    whole(10, 3_600_000),
    "5000",
    "interval of progress messages of idle watches and integrity checks, in ms",
  ),
  GREY_WATCH_STALL_MS: setting(
    whole(100, 86_400_000),
    "60000",
    "time after which a call is ended if its client takes no data, in ms; streams end with WATCHER_TOO_SLOW",
  ),
  GREY_SCHEDULE_EVERY_MS: setting(
    whole(10, 3_600_000),
    "1000",
    "interval of polling for due scheduled runs, in ms; no run is made early",
  ),
  GREY_ALERT_EVERY_MS: setting(
    whole(10, 3_600_000),
    "1000",
    "interval of reading the journal for alert crossings, in ms",
  ),
  GREY_RETRY_AFTER_MS: setting(whole(1, 60_000), "1000", "retry delay in RetryInfo, in ms"),
  GREY_DRAIN_MS: setting(
    whole(0, 600_000),
    "0",
    "how long to keep serving as NOT_SERVING at shutdown, in ms, so that load balancers notice",
  ),
  GREY_SHUTDOWN_TIMEOUT_MS: setting(
    whole(100, 600_000),
    "10000",
    "how long calls in flight may take at shutdown, in ms",
  ),
  GREY_LOG_LEVEL: setting(oneOf("error", "warn", "info", "debug"), "info", "error, warn, info or debug"),
  GREY_LOG_FORMAT: setting(
    oneOf("auto", "json", "pretty"),
    "auto",
    "json, pretty, or auto: pretty on a terminal, otherwise json",
  ),
  GREY_ADDRESS: setting(
    readOr(readAddress, "must be host:port, such as 127.0.0.1:50051 or [::1]:50051").optional(),
    undefined,
    "server address for client commands, as host:port; unset: GREY_HOST and GREY_PORT",
  ),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;

/** The address that client commands call by default. */
export const DEFAULT_ADDRESS = `${SETTINGS.GREY_HOST.default}:${SETTINGS.GREY_PORT.default}`;

/** The validated settings, by the names of their environment variables. */
export type Config = { readonly [N in SettingName]: z.output<(typeof SETTINGS)[N]["rule"]> };

/**
 * Reads the settings from the environment. An empty variable counts as unset.
 * @throws SettingError that names every malformed or unknown setting
 */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const wrong: string[] = [];
  const config: Record<string, unknown> = {};
  for (const [name, { rule, default: fallback }] of Object.entries<Setting<unknown>>(SETTINGS)) {
    const result = rule.safeParse(environment[name] || fallback);
    if (result.success) config[name] = result.data;
    else wrong.push(`${name}: ${result.error.issues.map((issue) => issue.message).join("; ")}`);
  }
  for (const name of Object.keys(environment)) {
    if (name.startsWith("GREY_") && !(name in SETTINGS)) wrong.push(`${name}: unknown setting`);
  }
  for (const [name, value] of Object.entries(environment)) {
    if (/^OTEL_EXPORTER_OTLP_(\w+_)?ENDPOINT$/.test(name) && value && !isWebUrl(value)) {
      wrong.push(`${name}: must be an http:// or https:// URL`);
    }
  }
  const checked = config as Config;
  if (wrong.length === 0) wrong.push(...findExposed(checked));
  if (wrong.length > 0) throw new SettingError(wrong.join("\n"));
  return checked;
}

/** Returns a message for each address beyond loopback that nothing allows. */
function findExposed({
  GREY_HOST: host,
  GREY_PEER_ADDRESS: peer,
  GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: isAllowed,
}: Config): string[] {
  if (isAllowed) return [];
  const messages: string[] = [];
  if (!isLoopback(host)) {
    messages.push(
      `GREY_HOST: ${host} is not loopback, and Grey does not authenticate callers; ` +
        "set GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION=true if the network in front of it does",
    );
  }
  if (peer !== undefined && !isLoopback(splitAddress(peer).host)) {
    messages.push(
      `GREY_PEER_ADDRESS: ${peer} is not loopback, and servers talk to each other in clear text; ` +
        "set GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION=true if the network between them is private",
    );
  }
  return messages;
}

function isWebUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

/**
 * Returns the address for client commands: GREY_ADDRESS, else that of the server that these settings would start.
 * @throws SettingError if that server chooses its own port
 */
export function clientAddress({ GREY_ADDRESS, GREY_HOST, GREY_PORT }: Config): string {
  if (GREY_ADDRESS !== undefined) return GREY_ADDRESS;
  if (GREY_PORT === 0) {
    throw new SettingError("GREY_ADDRESS: unset, and GREY_PORT=0 lets the server choose; set it, or give --address");
  }
  return reachableAddress(formatAddress(GREY_HOST, GREY_PORT));
}

/** Formats the value of a setting; secrets are masked, also inside URLs. */
export function displaySetting(name: SettingName, config: Config): string {
  const value: string | number | boolean | undefined = config[name];
  if (value === undefined) return "(unset)";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return (SETTINGS[name] as Setting<unknown>).secret === true ? maskDatabaseUrl(text) : text;
}
