import type { DatabaseTrouble } from "../base/failure.js";

/** The SQLSTATEs that Grey distinguishes. Source: PostgreSQL manual, appendix A. */
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

/** Returns the SQLSTATE of an error that PostgreSQL sent; undefined for other errors. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !code.startsWith("E") ? code : undefined;
}

/**
 * Returns true if the transaction conflicted with a concurrent one, also over the same request id or the same email, so that it
 * may succeed when it is run again at once.
 */
export function isConflict(error: unknown): boolean {
  const state = sqlState(error);
  if (state === SQLSTATE.UNIQUE_VIOLATION)
    return RACED_FOR.includes((error as { constraint?: string }).constraint ?? "");
  return state === SQLSTATE.SERIALIZATION_FAILURE || state === SQLSTATE.DEADLOCK_DETECTED;
}

const RACED_FOR: readonly string[] = ["requests_pkey", "users_email_key"];

/**
 * Returns true if the error means that the database cannot be reached or does not serve at present: a lost or refused
 * connection, a server that starts, stops, is read-only or full, or a timeout.
 */
export function isUnavailable(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== undefined) {
    // 08 connection, 53 resources (disk full, too many connections), 57 operator intervention (shutdown, cancel), 58
    // system error, 25006 read-only (a former primary), 55P03 lock not available.
    return /^(08|53|57|58)/.test(state) || state === SQLSTATE.READ_ONLY || state === "55P03";
  }
  const { code, message, syscall } = (error ?? {}) as { code?: unknown; message?: unknown; syscall?: unknown };
  // A socket that does not exist yet.
  if (code === "ENOENT" && syscall === "connect") return true;
  if (typeof code === "string" && /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_)/.test(code)) return true;
  return typeof message === "string" && CONNECTION_MESSAGES.test(message);
}

/** Classifies an error for which isUnavailable() is true. */
export function classifyTrouble(error: unknown): DatabaseTrouble {
  const state = sqlState(error);
  if (state === SQLSTATE.READ_ONLY) return "read_only";
  if (
    state === SQLSTATE.DISK_FULL ||
    (state?.startsWith("58") === true && /No space left/.test((error as Error).message))
  ) {
    return "disk_full";
  }
  // PostgreSQL ends its sessions when it stops; a pooler's own refusals are protocol violations.
  const isGone = state === undefined || /^(08(?!004|P01)|57P0[12])/.test(state);
  return isGone ? "unreachable" : "refusing";
}

// Errors of the driver without a code.
const CONNECTION_MESSAGES =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout|Client was closed|Cannot use a pool after)/;

/**
 * Returns true if a commit that ended with this error may have happened all the same: always, unless PostgreSQL reported a
 * rollback. A lost connection or a stopping server leaves it open.
 */
export function leavesOutcomeOpen(error: unknown): boolean {
  const state = sqlState(error);
  return state === undefined || /^(08|57P)/.test(state);
}

/** Returns true if an answer is overdue that PostgreSQL would have cancelled by now: the network has fallen silent. */
export function isReadTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Query read timeout";
}

/** Returns true if a notice is a warning. Its code tells; its severity may be in another language. */
export function isWarning({ code }: { readonly code?: string | undefined }): boolean {
  return code !== "00000";
}

/** Returns true if every pooled connection was in use for too long: a sign of load, not of an unavailable database. */
export function isPoolExhausted(error: unknown): boolean {
  return error instanceof Error && error.message === "timeout exceeded when trying to connect";
}
