import type { DatabaseTrouble } from "../base/failure.js";

/** The SQLSTATEs that Grey tells apart. Source: PostgreSQL manual, appendix A. */
export const SQLSTATE = {
  UNIQUE_VIOLATION: "23505",
  SERIALIZATION_FAILURE: "40001",
  DEADLOCK_DETECTED: "40P01",
  INVALID_PASSWORD: "28P01",
  INVALID_AUTHORIZATION: "28000",
  INVALID_CATALOG_NAME: "3D000",
  INSUFFICIENT_PRIVILEGE: "42501",
  INVALID_PARAMETER_VALUE: "22023",
  UNDEFINED_TABLE: "42P01",
  READ_ONLY: "25006",
  DISK_FULL: "53100",
  PROTOCOL_VIOLATION: "08P01",
  CONNECTION_REJECTED: "08004",
} as const;

/** The SQLSTATE of an error that PostgreSQL sent, at whatever depth a driver wrapped it; undefined for other errors. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("E") ? code : undefined;
}

/**
 * Whether the same transaction may come to an answer when it is run again at once: it lost against a concurrent one, also
 * one that used the same request id or took the same email.
 */
export function isConflict(error: unknown): boolean {
  const state = sqlState(error);
  if (state === SQLSTATE.UNIQUE_VIOLATION)
    return RACED_FOR.includes((error as { constraint?: string }).constraint ?? "");
  return state === SQLSTATE.SERIALIZATION_FAILURE || state === SQLSTATE.DEADLOCK_DETECTED;
}

const RACED_FOR: readonly string[] = ["requests_pkey", "users_email_key"];

/**
 * Whether the error says that the database cannot be reached or does not serve now: lost and refused connections, a
 * server that starts, stops, is read-only or full, a time-out.
 */
export function isUnavailable(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) {
    // 08 connection, 53 resources (disk full, too many connections), 57 operator intervention (shutdown, cancel), 58
    // system error, 25006 read-only (a former primary), 55P03 lock not available.
    return /^(08|53|57|58)/.test(state) || state === SQLSTATE.READ_ONLY || state === "55P03";
  }
  const { code, message, syscall } = (error ?? {}) as { code?: unknown; message?: unknown; syscall?: unknown };
  // A socket that is not there yet.
  if (code === "ENOENT" && syscall === "connect") return true;
  if (typeof code === "string" && /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_)/.test(code)) return true;
  return typeof message === "string" && CONNECTION_MESSAGES.test(message);
}

/** What keeps the database from its work, of an error that says that it is unavailable. */
export function classifyTrouble(error: unknown): DatabaseTrouble {
  const state = sqlState(error);
  if (state === SQLSTATE.READ_ONLY) return "read_only";
  if (
    state === SQLSTATE.DISK_FULL ||
    (state?.startsWith("58") === true && /No space left/.test((error as Error).message))
  ) {
    return "disk_full";
  }
  // PostgreSQL ends a session that it has let in when it goes away; a pooler's own refusals are protocol violations.
  const isGone = state === undefined || /^(08(?!004|P01)|57P0[12])/.test(state);
  return isGone ? "unreachable" : "refusing";
}

// The driver gives these no code.
const CONNECTION_MESSAGES =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout|Client was closed|Cannot use a pool after)/;

/**
 * Whether a commit that ended with this error may have happened all the same: unless PostgreSQL itself says that it rolled
 * back. A connection or a server that goes away says nothing.
 */
export function leavesOutcomeOpen(error: unknown): boolean {
  const state = sqlState(error);
  return state === undefined || /^(08|57P)/.test(state);
}

/** Whether an answer is overdue that PostgreSQL itself would have given up by now: the network has fallen silent. */
export function isReadTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Query read timeout";
}

/** Whether a notice warns; the severity beside it may be in another language. */
export function isWarning({ code }: { readonly code?: string | undefined }): boolean {
  return code !== "00000";
}

/** Whether every connection of the pool was in use for too long: there is too much to do, the database is there. */
export function isPoolExhausted(error: unknown): boolean {
  return error instanceof Error && error.message === "timeout exceeded when trying to connect";
}
