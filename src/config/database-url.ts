import { accessSync, constants } from "node:fs";
import { userInfo } from "node:os";

const ENCODE =
  "in user, password and names write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25 and a blank as %20";

/** Parameters with the values that Grey uses in any case. */
const NEEDLESS: Readonly<Record<string, readonly string[]>> = {
  channel_binding: ["disable", "prefer"],
  client_encoding: ["UTF8", "utf8", "utf-8", "UTF-8"],
  gssencmode: ["disable", "prefer"],
  target_session_attrs: ["any", "read-write", "primary"],
};
/** Parameters that are passed to the driver unchanged. */
const PASSED_ON = ["application_name", "options", "sslcert", "sslkey", "sslnegotiation"];
const PARTS = ["host", "port", "user", "password", "dbname", "ssl", "sslmode", "sslrootcert"];

/**
 * Parses a PostgreSQL URL as documented for libpq. Returns it in a normal form that all parsers read alike,
 * `postgres://user:password@host:port/database?parameters`, with a socket folder percent-encoded in place of the host.
 * @throws Error that explains the problem and reveals no part that may be secret
 */
export function readDatabaseUrl(text: string): string {
  const [, , rest] = /^(postgres|postgresql):\/\/(.*)$/s.exec(text.trim()) ?? [];
  if (rest === undefined) throw new Error("must be a postgres:// URL");
  const [, authority = "", path = "", query = ""] = /^([^/?#]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? [];
  const at = authority.lastIndexOf("@");
  // An unescaped / or ? in a password shifts the rest of the password, and the @, into the path or the parameters.
  if (/[#\s]/.test(rest) || (path + query).includes("@")) throw new Error(`is no URL: ${ENCODE}`);
  const params = readParams(query);
  const [, user = "", , password] = /^([^:]*)(:(.*))?$/s.exec(authority.slice(0, Math.max(at, 0))) ?? [];
  const [, host = "", , port = ""] = /^(\[[^[\]]*\]|[^[\]:]*)(:(.*))?$/s.exec(authority.slice(at + 1)) ?? [];
  if (authority.slice(at + 1).includes(",") || params.get("host")?.includes(",")) {
    throw new Error(
      "names several hosts, and Grey connects to one: the primary's, or that of a proxy which follows the primary",
    );
  }
  if (authority.length > at + 1 && host === "") throw new Error(`has no host that can be read: ${ENCODE}`);
  const loginName = params.get("user") ?? (decode(user) || userInfo().username);
  const secret = params.get("password") ?? (password === undefined ? undefined : decode(password));
  const credentials = encodeURIComponent(loginName) + (secret === undefined ? "" : `:${encodeURIComponent(secret)}`);
  const database = params.get("dbname") ?? (decode(path) || loginName);
  if (/[/?#%]/.test(database))
    throw new Error("names a database with one of the characters / ? # %, which Grey does not take");
  const place = `${readHost(params.get("host") ?? decode(host))}:${readPort(params.get("port") ?? port)}`;
  const search = driverParams(params).toString();
  return `postgres://${credentials}@${place}/${encodeURIComponent(database)}${search === "" ? "" : `?${search}`}`;
}

/** Describes the database's location, without user and password. */
export function describeDatabase(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  const host = decodeURIComponent(hostname);
  const database = decodeURIComponent(pathname.slice(1));
  if (host.startsWith("/")) return `PostgreSQL at ${host}/.s.PGSQL.${port}, database ${database}`;
  return `PostgreSQL at ${host}:${port}/${database}`;
}

/** Masks the password in a URL. */
export function maskDatabaseUrl(url: string): string {
  const masked = new URL(url);
  if (masked.password !== "") masked.password = "***";
  return masked.href;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`is no URL: ${ENCODE}`);
  }
}

function readParams(query: string): Map<string, string> {
  const params = new Map<string, string>();
  for (const part of query.split("&").filter((text) => text !== "")) {
    const at = part.indexOf("=");
    const [name, value] = [decode(at < 0 ? part : part.slice(0, at)), decode(at < 0 ? "" : part.slice(at + 1))];
    if (!/^[a-z_]{2,30}$/.test(name)) throw new Error(`is no URL: ${ENCODE}`);
    if (params.has(name)) throw new Error(`has the parameter ${name} twice`);
    if (name === "connect_timeout") {
      throw new Error("has the parameter connect_timeout; GREY_DATABASE_CONNECT_TIMEOUT_MS is the setting for it");
    }
    if (!PARTS.includes(name) && !PASSED_ON.includes(name) && !NEEDLESS[name]?.includes(value)) {
      const taken = NEEDLESS[name] === undefined ? "" : ` with a value other than ${NEEDLESS[name].join(", ")}`;
      throw new Error(
        `has the parameter ${name}${taken}, which Grey does not take; it takes ${[...PARTS, ...PASSED_ON].join(", ")}`,
      );
    }
    params.set(name, value);
  }
  return params;
}

function readHost(host: string): string {
  if (host === "") return "localhost";
  if (host.startsWith("/")) return encodeURIComponent(host);
  if (/^[\w.-]+$/.test(host)) return host;
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (!URL.canParse(`http://[${bare}]`)) throw new Error(`has no host that can be read: ${ENCODE}`);
  return new URL(`http://[${bare}]`).hostname;
}

function readPort(port: string): string {
  if (port === "") return "5432";
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    throw new Error(`has no port from 1 to 65535 after its host: ${ENCODE}`);
  }
  return port;
}

/** Converts parameters to those of the driver. */
function driverParams(params: ReadonlyMap<string, string>): URLSearchParams {
  const search = new URLSearchParams();
  for (const name of PASSED_ON) if (params.has(name)) search.set(name, params.get(name)!);
  const rootCertificate = params.get("sslrootcert");
  const mode = readTlsMode(params);
  if (mode === "verify-ca") {
    if (rootCertificate === undefined)
      throw new Error("has sslmode=verify-ca, which needs sslrootcert=FILE, the certificate to trust");
    // The driver treats it as verify-full.
    search.set("uselibpqcompat", "true");
  }
  // "system" means the system's certificate authorities, the driver's default.
  if (rootCertificate !== undefined && rootCertificate !== "system") search.set("sslrootcert", rootCertificate);
  if (mode !== undefined) search.set("sslmode", mode);
  for (const name of ["sslrootcert", "sslcert", "sslkey"]) {
    const path = search.get(name);
    if (path === null) continue;
    if (mode === "disable") throw new Error(`has ${name} beside sslmode=disable; choose one`);
    try {
      accessSync(path, constants.R_OK);
    } catch (error) {
      throw new Error(`has ${name}=${path}, a file that cannot be read (${(error as NodeJS.ErrnoException).code})`, {
        cause: error,
      });
    }
  }
  return search;
}

const TLS_MODES: Readonly<Record<string, string>> = {
  disable: "disable",
  // Both verify the server's certificate and host name.
  require: "verify-full",
  "verify-full": "verify-full",
  "verify-ca": "verify-ca",
  "no-verify": "no-verify",
};

function readTlsMode(params: ReadonlyMap<string, string>): string | undefined {
  const ssl = params.get("ssl");
  const asked = params.get("sslmode") ?? (ssl === undefined ? undefined : SSL_FLAGS[ssl]);
  if (asked === undefined && ssl === undefined) {
    return ["sslrootcert", "sslcert", "sslkey"].some((name) => params.has(name)) ? "verify-full" : undefined;
  }
  const mode = TLS_MODES[asked ?? ""];
  if (mode !== undefined) return mode;
  throw new Error(
    `has ${params.has("sslmode") ? "an sslmode" : "an ssl"} that Grey does not take; sslmode is disable, require or verify-full (encrypted, certificate and name checked), verify-ca (name not checked) or no-verify (nothing checked)`,
  );
}

const SSL_FLAGS: Readonly<Record<string, string>> = {
  true: "require",
  "1": "require",
  false: "disable",
  "0": "disable",
  "no-verify": "no-verify",
};
