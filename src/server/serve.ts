import { once } from "node:events";
import type { Config } from "../config/config.js";
import { startGrey, type Grey } from "../main.js";
import { logUnhandledRejections } from "../telemetry/faults.js";
import { createServerLogger } from "../telemetry/logger.js";
import { stopTelemetry } from "../telemetry/stop.js";
import { formatBanner } from "./banner.js";

const LINGER_MS_MAX = 1_000;

/** Runs the command `grey serve`: starts, prints the banner, and stops at SIGINT, SIGTERM or SIGHUP. A second signal ends the process at once. */
export async function serve(config: Config): Promise<void> {
  const logger = createServerLogger(config);
  const ending = new AbortController();
  let grey: Grey | undefined;
  const onSignal = (signal: string): void => {
    if (!ending.signal.aborted) return ending.abort(signal);
    Promise.resolve(grey?.abandon())
      .catch(() => undefined)
      .finally(() => process.exit(1));
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("SIGHUP", onSignal);
  logUnhandledRejections(logger);
  try {
    grey = await startGrey(config, logger, ending.signal);
    if (config.GREY_LOG_FORMAT !== "json") process.stdout.write(formatBanner(grey.address, grey.dataPlace));
    logger.info("serving", { address: grey.address, data: grey.dataPlace });
    if (!ending.signal.aborted) await once(ending.signal, "abort");
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  }
  logger.info("stopping", { signal: String(ending.signal.reason) });
  await grey?.stop();
  await stopTelemetry();
  logger.info("stopped");
  // A connection that the network has swallowed does not notice its end, and would keep the process alive.
  setTimeout(() => process.exit(), LINGER_MS_MAX).unref();
}
