import { describeError, type Logger } from "./logger.js";

/**
 * Logs each rejected promise that nobody handles, and lets the process go on: a fault in one call must not end all others.
 * Source: docs/decisions/0026-unhandled-rejections.md
 */
export function logUnhandledRejections(logger: Logger): void {
  process.on("unhandledRejection", (error) => {
    logger.error("fault", { where: "a promise that nobody waits for", ...describeError(error) });
  });
}
