import pg from "pg";
import { SettingError } from "../config/config.js";
import { SessionError } from "./session.js";
import { sqlState, SQLSTATE } from "./sqlstate.js";

/** A PostgreSQL URL, and the setting that it came from. */
export interface DatabaseAddress {
  readonly url: string;
  readonly setting: "DATABASE_URL" | "GREY_DATABASE_OWNER_URL";
}

/** Describes why the database cannot be reached, for the log of a start that waits for it. */
export function describeUnreachable(error: unknown, url: string): string {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  if (error instanceof SessionError) return error.message;
  if (sqlState(error) !== undefined) return `PostgreSQL says: ${String(message)}`;
  const reason = typeof code === "string" ? REASONS[code] : undefined;
  if (reason !== undefined) return reason(new URL(url).hostname);
  if (/timeout/i.test(String(message))) return NO_ANSWER;
  if (String(message).startsWith("Connection terminated")) {
    return "the connection was closed at once: by a PostgreSQL that starts or stops, or by a proxy without one behind it";
  }
  return String(message);
}

const NO_ANSWER = "nothing answers: the host is down, or a firewall drops the connection";

const REASONS: Readonly<Record<string, (host: string) => string>> = {
  ECONNREFUSED: () => "connection refused: nothing listens there",
  ENOENT: () => "there is no such socket: PostgreSQL is not running, or has its sockets elsewhere",
  ENOTFOUND: (host) => `the host name ${host} is unknown`,
  EAI_AGAIN: (host) => `the host name ${host} cannot be resolved: no name server answers`,
  ETIMEDOUT: () => NO_ANSWER,
  EHOSTUNREACH: () => "there is no route to the host",
  ENETUNREACH: () => "there is no route to the host's network",
  ECONNRESET: () => "the connection was reset",
};

/**
 * Throws an error that only the operator can mend (URL, certificates, login) as a SettingError with the remedy and without the
 * password; throws other errors unchanged.
 * @param role the role that the session assumes, if any
 */
export function explainConnection(error: unknown, { url, setting }: DatabaseAddress, role?: string): never {
  const mending = explainRemedy(error, url, role);
  if (mending !== undefined) throw new SettingError(`${setting}: ${mending}`);
  throw error;
}

function explainRemedy(error: unknown, url: string, role: string | undefined): string | undefined {
  const { message, code, syscall } = error as Error & { readonly code?: unknown; readonly syscall?: unknown };
  const parts = new URL(url);
  const login = decodeURIComponent(parts.username);
  const database = identifier(decodeURIComponent(parts.pathname.slice(1)));
  const said = `PostgreSQL says: ${message}`;
  if (error instanceof SessionError) {
    if (error.code !== SQLSTATE.CONNECTION_REJECTED) return undefined;
    const cause = sqlState(error.cause);
    if (role === undefined || cause === undefined) return message;
    return `${message}; an administrator runs: ${grantStatements(role, login, cause !== SQLSTATE.INSUFFICIENT_PRIVILEGE)}`;
  }
  switch (sqlState(error)) {
    case SQLSTATE.INVALID_PASSWORD:
      return said;
    case SQLSTATE.INVALID_AUTHORIZATION:
      return /no encryption|SSL off/.test(message)
        ? `${said}; if it wants encryption, add sslmode=require to the URL`
        : said;
    case SQLSTATE.INVALID_CATALOG_NAME:
      return `${said}; an administrator runs: CREATE DATABASE ${database} OWNER ${identifier(login)} TEMPLATE template0 ENCODING 'UTF8';`;
    case SQLSTATE.INSUFFICIENT_PRIVILEGE:
      return `${said}; an administrator runs: GRANT CONNECT ON DATABASE ${database} TO ${identifier(login)};`;
    case SQLSTATE.PROTOCOL_VIOLATION:
      return POOLER_REFUSALS.test(message) ? `the connection pooler says: ${message}` : undefined;
    case undefined:
      break;
    default:
      return undefined;
  }
  if (code === "EACCES" && syscall === "connect")
    return "this user may not use the socket, whose folder or file has other owners";
  if (message === "The server does not support SSL connections") {
    return "PostgreSQL takes no encrypted connections; switch its ssl on, or say sslmode=disable in the URL";
  }
  if (typeof code !== "string") return undefined;
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the certificate of PostgreSQL is for another name than ${parts.hostname}; use the name that it has, or sslmode=verify-ca`;
  }
  if (/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/.test(code))
    return `the certificate of PostgreSQL is not valid now (${message})`;
  if (/CERT|UNABLE_TO_/.test(code)) {
    return `the certificate of PostgreSQL is not trusted (${message}); give the one that signed it as sslrootcert=FILE, or do without the check by sslmode=no-verify`;
  }
  if (/^ERR_(SSL|OSSL)/.test(code)) return `encryption fails (${message}); look at sslrootcert, sslcert and sslkey`;
  return undefined;
}

// PgBouncer has one SQLSTATE for all refusals; its other refusals are transient, such as that of an unavailable server behind it.
const POOLER_REFUSALS = /unsupported startup parameter|no such (user|database)|statement pooling mode/;

/** Returns the statements with which an administrator lets the login assume the role. */
export function grantStatements(role: string, login: string, isMissing: boolean): string {
  const [of, to] = [identifier(role), identifier(login)];
  return `${isMissing ? `CREATE ROLE ${of} NOLOGIN; ` : ""}GRANT ${of} TO ${to};`;
}

/** Returns a name as an SQL identifier, quoted if PostgreSQL requires it. */
export function identifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : pg.escapeIdentifier(name);
}
