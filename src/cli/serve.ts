import type { Command } from "commander";
import { readConfig } from "../config/config.js";
import { examples } from "./options.js";

export function addServeCommand(program: Command): void {
  program
    .command("serve")
    .description("run the server until it is told to stop (SIGINT, SIGTERM or SIGHUP)")
    .addHelpText(
      "after",
      `
Settings come from the environment; \`grey config\` shows each with its value and what
it is for. Without DATABASE_URL the server runs a PostgreSQL of its own and keeps the
data in GREY_DATA_DIR. It serves on GREY_HOST and GREY_PORT.
` + examples("serve"),
    )
    .action(async () => {
      const config = readConfig();
      outliveReaders();
      // The server's modules are many; the client commands start without them.
      const { serve } = await import("../main.js");
      await serve(config);
    });
}

/** Lets the server go on when nobody reads its outputs any more: the terminal was closed, the reader of its log has ended, the disk is full. */
function outliveReaders(): void {
  for (const output of [process.stdout, process.stderr])
    output.removeAllListeners("error").on("error", () => undefined);
}
