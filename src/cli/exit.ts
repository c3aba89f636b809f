import { status } from "@grpc/grpc-js";
import { CommanderError } from "commander";
import { SettingError } from "../config/config.js";
import { CallError, FINAL, wasNeverSent, UsageError } from "./failure.js";

/** The exit codes of the command. */
export const EXIT = {
  DONE: 0,
  /** The books do not balance, or an internal error in the server or the command. */
  FAILED: 1,
  /** Bad arguments or settings, or a request that the server found malformed. */
  WRONG_USE: 2,
  /** The server refused the request. */
  REFUSED: 3,
  /** The server is unreachable or unavailable: nothing was changed. */
  UNREACHABLE: 4,
  /** The outcome of a change is unknown. */
  OUTCOME_UNKNOWN: 5,
  /** The status that shells report after SIGINT. */
  INTERRUPTED: 130,
} as const;

type Exit = (typeof EXIT)[keyof typeof EXIT];

/** The exit codes, as --help shows them. */
export const ABOUT_EXIT_CODES = `
Exit codes:
  0    success
  1    the books do not balance, or an internal error
  2    bad arguments or settings
  3    the server refused the request
  4    the server is unreachable or unavailable; nothing was changed
  5    outcome unknown: repeat the command with --request-id and the printed id
  130  interrupted`;

/** Returns the exit code for an error. */
export function toExitCode(error: unknown): Exit {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.DONE : EXIT.WRONG_USE;
  if (error instanceof UsageError || error instanceof SettingError) return EXIT.WRONG_USE;
  return error instanceof CallError ? toCallExitCode(error) : EXIT.FAILED;
}

function toCallExitCode({ failure, call }: CallError): Exit {
  const { code, reason } = failure;
  if (code === status.INVALID_ARGUMENT) return EXIT.WRONG_USE;
  if (FINAL.has(code) || code === status.ABORTED) return EXIT.REFUSED;
  const isChange = call.requestId !== undefined;
  if (reason !== undefined && reason !== "INTERNAL" && reason !== "OUTCOME_UNKNOWN") return EXIT.UNREACHABLE;
  if (isChange && !wasNeverSent(failure)) return EXIT.OUTCOME_UNKNOWN;
  return code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED ? EXIT.UNREACHABLE : EXIT.FAILED;
}

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(EXIT).map(([name, code]) => [code, name.toLowerCase()]),
);

/** Converts an error to the value that --json prints. */
export function errorToJson(error: unknown, message: string): object {
  const exitCode = toExitCode(error);
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
