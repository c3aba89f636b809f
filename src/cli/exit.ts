import { status } from "@grpc/grpc-js";
import { CommanderError } from "commander";
import { SettingError } from "../config/config.js";
import { CallError, FINAL, isNotSent, UsageError } from "./failure.js";

/** How the command ends. */
export const EXIT = {
  DONE: 0,
  /** The books do not add up, or the server or the command itself is at fault. */
  FAILED: 1,
  /** Typed or set wrong: nothing was asked of a server, or it found the request malformed. */
  WRONG_USE: 2,
  /** The server answered no. */
  REFUSED: 3,
  /** No server, or one that cannot answer now: nothing was changed. */
  UNREACHABLE: 4,
  /** A change may have been carried out, or not. */
  OUTCOME_UNKNOWN: 5,
  /** As shells have it of a process that SIGINT ended. */
  INTERRUPTED: 130,
} as const;

type Exit = (typeof EXIT)[keyof typeof EXIT];

/** The exit codes, for the help. */
export const ABOUT_EXIT_CODES = `
Exit codes:
  0  done
  1  the books do not add up, or something is at fault
  2  typed or set wrong
  3  refused: the server answered no
  4  no server, or it cannot answer now; nothing was changed
  5  outcome unknown: run the same command again with the request id that was printed
  130  interrupted`;

/** The exit code of a command that ended with this error. */
export function exitCodeOf(error: unknown): Exit {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.DONE : EXIT.WRONG_USE;
  if (error instanceof UsageError || error instanceof SettingError) return EXIT.WRONG_USE;
  return error instanceof CallError ? exitCodeOfCall(error) : EXIT.FAILED;
}

function exitCodeOfCall({ failure, call }: CallError): Exit {
  const { code, reason } = failure;
  if (code === status.INVALID_ARGUMENT) return EXIT.WRONG_USE;
  if (FINAL.has(code) || code === status.ABORTED) return EXIT.REFUSED;
  const isChange = call.requestId !== undefined;
  if (reason !== undefined && reason !== "INTERNAL" && reason !== "OUTCOME_UNKNOWN") return EXIT.UNREACHABLE;
  if (isChange && !isNotSent(failure)) return EXIT.OUTCOME_UNKNOWN;
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED ? EXIT.UNREACHABLE : EXIT.FAILED;
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(EXIT).map(([name, code]) => [code, name.toLowerCase()]),
);

/** The error as a value for --json. */
export function errorToJson(error: unknown, message: string): object {
  const exitCode = exitCodeOf(error);
  const kind = NAMES.get(exitCode);
  if (!(error instanceof CallError)) return { error: { kind, exitCode, message } };
  const { failure, call } = error;
  const isChange = call.requestId !== undefined;
  return {
    error: {
      kind,
      exitCode,
      code: status[failure.code],
      ...(failure.reason !== undefined && { reason: failure.reason }),
      message: failure.reason === undefined ? message : failure.message,
      metadata: failure.metadata,
      violations: failure.violations,
      ...(failure.retryAfterMs !== undefined && { retryAfterMs: failure.retryAfterMs }),
      ...(isChange && { requestId: call.requestId }),
      ...(failure.traceId !== "" && { traceId: failure.traceId }),
    },
  };
}
