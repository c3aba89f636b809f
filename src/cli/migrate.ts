import { type Command, Option } from "commander";
import { readConfig } from "../config/config.js";
import { examples } from "./options.js";

interface MigrateOptions {
  readonly revert?: boolean;
  readonly check?: boolean;
}

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
      const { migrate } = await import("../db/migrate.js");
      await migrate(config, { revert, check, onProgress: (line) => console.log(line) });
    });
}
