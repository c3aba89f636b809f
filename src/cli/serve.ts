import type { Command } from "commander";
import { readConfig } from "../config/config.js";
import { examples } from "./options.js";

export function addServeCommand(program: Command): void {
  program
    .command("serve")
    .description("run the server until SIGINT, SIGTERM or SIGHUP")
    .addHelpText(
      "after",
      `
Settings come from the environment; \`grey config\` shows each with its value and purpose.
Without DATABASE_URL the server runs an embedded PostgreSQL with its data in
GREY_DATA_DIR. It listens on GREY_HOST and GREY_PORT.
` + examples("serve"),
    )
    .action(async () => {
      const config = readConfig();
      ignoreOutputErrors();
      // Loaded on demand, so that client commands start fast.
      const { serve } = await import("../server/serve.js");
      await serve(config);
    });
}

/** Keeps the server running if its output fails: a closed terminal, a log reader that ended, a full disk. */
function ignoreOutputErrors(): void {
  for (const output of [process.stdout, process.stderr])
    output.removeAllListeners("error").on("error", () => undefined);
}
