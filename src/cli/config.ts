import type { Command } from "commander";
import { type Config, displaySetting, readConfig, type SettingName, SETTINGS } from "../config/config.js";
import { examples, type GlobalOptions } from "./options.js";
import { print, printJson } from "./command-context.js";
import { printable } from "./text.js";

export function addConfigCommand(program: Command): void {
  program
    .command("config")
    .description("show every setting with its value, default and purpose; secrets are masked")
    .addHelpText("after", "\nSettings come from the environment.\n" + examples("config", "config --json"))
    .action((_options: object, command: Command) => {
      const settings = listSettings(readConfig());
      if (command.optsWithGlobals<GlobalOptions>().json) printJson(settings);
      else print(...settings.map(renderSetting));
    });
}

interface ShownSetting {
  readonly name: string;
  readonly value: string;
  readonly default: string | null;
  readonly about: string;
}

function listSettings(config: Config): ShownSetting[] {
  return Object.keys(SETTINGS)
    .filter(isSettingName)
    .map((name) => ({
      name,
      value: displaySetting(name, config),
      default: SETTINGS[name].default ?? null,
      about: SETTINGS[name].about,
    }));
}

function isSettingName(name: string): name is SettingName {
  return name in SETTINGS;
}

function renderSetting({ name, value, default: fallback, about }: ShownSetting): string {
  const isDefault = value === (fallback ?? "(unset)");
  const note = isDefault ? "(default)" : `(default: ${fallback ?? "unset"})`;
  return `${name}=${printable(value)}  ${note}\n    ${about}`;
}
