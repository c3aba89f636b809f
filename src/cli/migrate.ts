import { type Command, Option } from "commander";
import { readConfig } from "../config/config.js";
import { examples } from "./options.js";

interface MigrateOptions {
  readonly revert?: boolean;
  readonly check?: boolean;
}

/** The exit statuses that shells report after these signals. */
const STATUS_OF_SIGNAL = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

export function addMigrateCommand(program: Command): void {
  program
    .command("migrate")
    .description("migrate the database schema to this version")
    .option("--revert", "revert the latest migration instead; never a ledger that has records")
    .addOption(
      new Option("--check", "change nothing; fail unless the schema is the one this version expects").conflicts(
        "revert",
      ),
    )
    .addHelpText(
      "after",
      `
The database is GREY_DATABASE_OWNER_URL, else DATABASE_URL, else the embedded PostgreSQL
in GREY_DATA_DIR. A database of another program, or of a version that this one does not
know, is refused and left unchanged.
` + examples("migrate", "migrate --check", "migrate --revert"),
    )
    .action(async ({ revert = false, check = false }: MigrateOptions) => {
      const config = readConfig();
      // The embedded PostgreSQL is stopped on exit; without a handler a signal would end the process without an exit event.
      for (const [signal, status] of Object.entries(STATUS_OF_SIGNAL)) process.once(signal, () => process.exit(status));
      const { migrate } = await import("../db/migrate.js");
      await migrate(config, { revert, check, onProgress: (line) => console.log(line) });
    });
}
