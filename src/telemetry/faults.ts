import { describeError, type Logger } from "./logger.js";

/**
 * Logs each unhandled rejection and keeps the process running: a bug in one call must not end all others.
 * Source: docs/decisions/0026-unhandled-rejections.md
 */
export function logUnhandledRejections(logger: Logger): void {
  process.on("unhandledRejection", (error) => {
    logger.error("fault", { where: "an unhandled rejection", ...describeError(error) });
  });
}
