import { join, resolve } from "node:path";
import { z } from "zod";
import { formatAddress, isLoopback, reachableAddress, readAddress, readHost } from "./address.js";
import { maskDatabaseUrl, readDatabaseUrl } from "./database-url.js";

/** A setting that is wrong. The message names it and says what it must be; it is meant for the operator. */
export class SettingError extends Error {
  override readonly name = "SettingError";
}

/** The clone or installation folder: the place of package.json. */
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

/** A rule for text that is read as a whole; what `read` throws says what is wrong, and shows nothing of a secret. */
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

/** A rule for text that is read as a whole, and that must be what the message says. */
function readOr(read: (text: string) => string | undefined, message: string) {
  return readBy((text) => {
    const value = read(text);
    if (value === undefined) throw new Error(message);
    return value;
  });
}

const databaseUrl = readBy(readDatabaseUrl);

/** A setting: its rule, its default as it would be written in the environment, and what it is for. */
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
    "URL of the PostgreSQL (15 to 18) to use; unset: an embedded one that keeps its data in GREY_DATA_DIR",
    true,
  ),
  GREY_DATABASE_OWNER_URL: setting(
    databaseUrl.optional(),
    undefined,
    "URL for migrations, as the role that owns the tables; unset: DATABASE_URL",
    true,
  ),
  GREY_DATABASE_ROLE: setting(
    z.string().regex(/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/, "must be a role's name of small letters, digits and _"),
    "grey_service",
    "role that the service takes on in its sessions; a second ledger of the same cluster has one of its own",
  ),
  GREY_DATABASE_POOL_SIZE: setting(whole(3, 1_000), "10", "connections to the database at the most"),
  GREY_DATABASE_CONNECT_TIMEOUT_MS: setting(whole(100, 60_000), "3000", "how long to wait for a connection, in ms"),
  GREY_DATABASE_STATEMENT_TIMEOUT_MS: setting(
    whole(100, 3_600_000),
    "15000",
    "how long one statement may take, in ms; a check of all books is exempt",
  ),
  GREY_MIGRATE_ON_START: setting(flag, "true", "whether `grey serve` brings the schema up to date first"),
  GREY_DATA_DIR: setting(
    z
      .string()
      .min(1)
      .transform((text) => resolve(text)),
    join(PROJECT_DIR, "data"),
    "folder of the embedded PostgreSQL: a new or an empty one, or one that Grey has made",
  ),
  GREY_EMBEDDED_PORT: setting(port, "0", "TCP port of the embedded PostgreSQL on 127.0.0.1; 0: any free one"),
  GREY_HOST: setting(readOr(readHost, "must be a host name or an IP address"), "127.0.0.1", "address to serve gRPC on"),
  GREY_PORT: setting(port, "50051", "TCP port to serve gRPC on; 0: any free one"),
  GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION: setting(
    flag,
    "false",
    "allow a GREY_HOST that is not loopback: everyone who reaches it can move all money",
  ),
  GREY_REQUEST_BYTES_MAX: setting(whole(1_024, 67_108_864), "4194304", "largest request message, in bytes"),
  GREY_METADATA_BYTES_MAX: setting(
    whole(1_024, 65_536),
    "16384",
    "largest set of request headers, in bytes, 32 more for each; more get INVALID_REQUEST, and beyond 131072 bytes or 2048 headers the transport resets the call, or ends the connection",
  ),
  GREY_CONNECTION_STREAMS_MAX: setting(whole(1, 100_000), "1024", "concurrent calls on one connection"),
  GREY_CONNECTION_OUTGOING_BYTES_MAX: setting(
    whole(1_048_576, 1_073_741_824),
    "33554432",
    "bytes of answers on their way to one connection; beyond it, calls of which its client took nothing for the longest are reset",
  ),
  GREY_OUTGOING_BYTES_MAX: setting(
    whole(1_048_576, 68_719_476_736),
    "268435456",
    "bytes of answers on their way to all clients; beyond it, calls of the connection with most of them are reset",
  ),
  GREY_CONNECTION_IDLE_MS: setting(
    whole(1_000, 86_400_000),
    "600000",
    "an idle connection is closed after this, in ms",
  ),
  GREY_CONNECTION_AGE_MS: setting(
    whole(1_000, 86_400_000),
    "3600000",
    "a connection is asked to go away after this, in ms, so that balancers can spread load",
  ),
  GREY_CONNECTION_GRACE_MS: setting(whole(100, 3_600_000), "60000", "calls may go on this long after that, in ms"),
  GREY_CALLS_IN_FLIGHT_MAX: setting(whole(1, 1_000_000), "10000", "calls worked on at once; more get OVERLOADED"),
  GREY_CALL_WAIT_MS: setting(
    whole(10, 3_600_000),
    "500",
    "when there is too much to do, calls beyond those that are answered within about this get OVERLOADED, in ms",
  ),
  GREY_CALL_TIMEOUT_MS: setting(whole(100, 3_600_000), "30000", "deadline of a call whose caller gave none, in ms"),
  GREY_POSTING_QUEUE_MAX: setting(
    whole(1, 10_000_000),
    "20000",
    "movements that may wait to be posted, unless one call alone brings more; others get OVERLOADED",
  ),
  GREY_POSTING_QUEUE_BYTES_MAX: setting(
    whole(65_536, 4_294_967_296),
    "67108864",
    "memory that waiting movements may take, unless those of one call take more, in bytes",
  ),
  GREY_POSTING_BATCH_MAX: setting(
    whole(1, 100_000),
    "2000",
    "movements written in one database transaction; a larger BatchTransfer is one by itself",
  ),
  GREY_POSTING_CACHE_MAX: setting(
    whole(1_000, 10_000_000),
    "200000",
    "accounts whose balances are kept in memory, some 300 bytes each",
  ),
  GREY_HOLD_EXPIRY_EVERY_MS: setting(
    whole(10, 3_600_000),
    "1000",
    "how often holds whose time has passed are looked for, in ms; none is captured after its time either way",
  ),
  GREY_BACKDATE_MAX_DAYS: setting(
    whole(0, 3_000_000),
    "366",
    "how many days ago a transaction may have taken effect; 0: none is dated back",
  ),
  GREY_POSTDATE_MAX_DAYS: setting(
    whole(0, 3_000_000),
    "31",
    "how many days ahead a transaction may take effect; 0: none is dated ahead",
  ),
  GREY_READ_WAIT_MS: setting(
    whole(1, 3_600_000),
    "5000",
    "how long a read waits for the journal to have its min_journal_index, in ms",
  ),
  GREY_JOURNAL_POLL_MS: setting(
    whole(1, 60_000),
    "50",
    "how often the journal's size is asked for while a watch or a read waits for it, in ms",
  ),
  GREY_WATCHES_MAX: setting(
    whole(1, 1_000_000),
    "10000",
    "watches and other streams of the server that are open at once; more get OVERLOADED",
  ),
  GREY_WATCH_PROGRESS_MS: setting(
    whole(10, 3_600_000),
    "5000",
    "a watch with nothing to tell, or a check of the books, says how far it is after this, in ms",
  ),
  GREY_WATCH_STALL_MS: setting(
    whole(100, 86_400_000),
    "60000",
    "a call whose client takes nothing of its answer for this long is ended, a stream with WATCHER_TOO_SLOW, in ms",
  ),
  GREY_SCHEDULE_EVERY_MS: setting(
    whole(10, 3_600_000),
    "1000",
    "how often scheduled runs that are due are looked for, in ms; none is made before its time",
  ),
  GREY_ALERT_EVERY_MS: setting(
    whole(10, 3_600_000),
    "1000",
    "how often the journal is read for balances that crossed an alert's threshold, in ms",
  ),
  GREY_RETRY_AFTER_MS: setting(whole(1, 60_000), "1000", "what RetryInfo tells a caller to wait, in ms"),
  GREY_DRAIN_MS: setting(
    whole(0, 600_000),
    "0",
    "how long to go on serving as NOT_SERVING at shutdown, in ms, so that balancers notice",
  ),
  GREY_SHUTDOWN_TIMEOUT_MS: setting(
    whole(100, 600_000),
    "10000",
    "calls in flight at shutdown may take this long, in ms",
  ),
  GREY_LOG_LEVEL: setting(oneOf("error", "warn", "info", "debug"), "info", "error, warn, info or debug"),
  GREY_LOG_FORMAT: setting(
    oneOf("auto", "json", "pretty"),
    "auto",
    "json, pretty, or auto: pretty on a terminal and json elsewhere",
  ),
  GREY_ADDRESS: setting(
    readOr(readAddress, "must be host:port, such as 127.0.0.1:50051 or [::1]:50051").optional(),
    undefined,
    "server that the client commands of `grey` call, as host:port; unset: the one of GREY_HOST and GREY_PORT",
  ),
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;

/** The server that client commands call when nothing is set. */
export const DEFAULT_ADDRESS = `${SETTINGS.GREY_HOST.default}:${SETTINGS.GREY_PORT.default}`;

/** The settings, checked; each under the name of its environment variable. */
export type Config = { readonly [N in SettingName]: z.output<(typeof SETTINGS)[N]["rule"]> };

/**
 * Reads the settings from the environment. An empty variable counts as unset.
 * @throws SettingError that names every setting that is wrong or unknown
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
    if (name.startsWith("GREY_") && !(name in SETTINGS)) wrong.push(`${name}: there is no such setting`);
  }
  for (const [name, value] of Object.entries(environment)) {
    if (/^OTEL_EXPORTER_OTLP_(\w+_)?ENDPOINT$/.test(name) && value && !isWebUrl(value)) {
      wrong.push(`${name}: must be an http:// or https:// URL`);
    }
  }
  const checked = config as Config;
  if (wrong.length === 0 && !isLoopback(checked.GREY_HOST) && !checked.GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION) {
    wrong.push(
      `GREY_HOST: ${checked.GREY_HOST} is not loopback and nothing authenticates callers yet; ` +
        "set GREY_DANGEROUSLY_SERVE_WITHOUT_AUTHENTICATION=true if the network in front of it does",
    );
  }
  if (wrong.length > 0) throw new SettingError(wrong.join("\n"));
  return checked;
}

function isWebUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}

/**
 * The server that a client on this machine calls: GREY_ADDRESS, else the one that these settings would start.
 * @throws SettingError when nobody can know its port
 */
export function clientAddress({ GREY_ADDRESS, GREY_HOST, GREY_PORT }: Config): string {
  if (GREY_ADDRESS !== undefined) return GREY_ADDRESS;
  if (GREY_PORT === 0) {
    throw new SettingError("GREY_ADDRESS: unset, and GREY_PORT=0 lets the server choose; set it, or give --address");
  }
  return reachableAddress(formatAddress(GREY_HOST, GREY_PORT));
}

/** The setting's value for people: secrets are masked, also inside URLs. */
export function displaySetting(name: SettingName, config: Config): string {
  const value: string | number | boolean | undefined = config[name];
  if (value === undefined) return "(unset)";
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return (SETTINGS[name] as Setting<unknown>).secret === true ? maskDatabaseUrl(text) : text;
}
