import { type Command, Option } from "commander";
import { readConfig } from "../config/config.js";
import { examples } from "./options.js";

interface MigrateOptions {
  readonly revert?: boolean;
  readonly check?: boolean;
}

/** What shells give a process that the signal ended. */
const STATUS_OF_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

export function addMigrateCommand(program: Command): void {
  program
    .command("migrate")
    .description("bring the database's schema up to date")
    .option("--revert", "undo the latest migration instead")
    .addOption(
      new Option("--check", "change nothing; fail when the schema is not what the program expects").conflicts("revert"),
    )
    .addHelpText(
      "after",
      `
It works on GREY_DATABASE_OWNER_URL, else DATABASE_URL, else the server's own
PostgreSQL in GREY_DATA_DIR.
` + examples("migrate", "migrate --check", "migrate --revert"),
    )
    .action(async ({ revert = false, check = false }: MigrateOptions) => {
      const config = readConfig();
      // PostgreSQL ends at the exit of this process; without a handler there is no exit that could tell it.
      for (const [signal, status] of Object.entries(STATUS_OF_SIGNAL)) process.once(signal, () => process.exit(status));
      const { migrate } = await import("../db/migrate.js");
      await migrate(config, { revert, check, onProgress: (line) => console.log(line) });
    });
}
