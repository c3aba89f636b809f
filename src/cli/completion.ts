import { type Command, Help, type Option } from "commander";
import { examples } from "./options.js";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** The scripts pass the typed words to `grey completion words`; the last one is the word to complete. */
const SCRIPTS: Readonly<Record<(typeof SHELLS)[number], string>> = {
  bash: `_grey() {
  local IFS=$'\\n'
  COMPREPLY=($(grey completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _grey grey
`,
  zsh: `#compdef grey
_grey() {
  local -a candidates
  candidates=("\${(@f)$(grey completion words -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$candidates" ]]; then compadd -- "\${candidates[@]}"; else _files; fi
}
compdef _grey grey
`,
  fish: `complete -c grey -f -a '(grey completion words -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
};

/** Adds `grey completion`. */
export function addCompletionCommand(program: Command): void {
  const completion = program
    .command("completion")
    .description("print a script that completes commands, options and values in a shell");
  completion
    .command("words", { hidden: true })
    .description("print the completions of the last word, for the scripts")
    .argument("[words...]")
    .addHelpText("after", examples("completion words -- transactions --ki"))
    .action((words: string[]) => {
      const candidates = listCandidates(program, words);
      if (candidates.length > 0) process.stdout.write(`${candidates.join("\n")}\n`);
    });
  for (const shell of SHELLS) {
    completion
      .command(shell)
      .description(`print the completion script for ${shell}`)
      .addHelpText("after", INSTALL[shell] + examples(`completion ${shell}`))
      .action(() => {
        process.stdout.write(SCRIPTS[shell]);
      });
  }
}

const INSTALL: Readonly<Record<(typeof SHELLS)[number], string>> = {
  bash: "\nTo install: grey completion bash >> ~/.bashrc, then open a new shell.\n",
  zsh: "\nTo install, add to ~/.zshrc after compinit: source <(grey completion zsh)\n",
  fish: "\nTo install: grey completion fish > ~/.config/fish/completions/grey.fish\n",
};

/** Returns the completions of the last word: subcommands, options, or the values of an option. */
export function listCandidates(program: Command, words: readonly string[]): string[] {
  const typed = words.at(-1) ?? "";
  let command = program;
  let before: string | undefined;
  for (const word of words.slice(0, -1)) {
    const next = before === undefined || !takesValue(command, before) ? findSubcommand(command, word) : undefined;
    if (next !== undefined) command = next;
    before = word;
  }
  const values = before === undefined ? undefined : findOption(command, before)?.argChoices;
  if (values !== undefined && !typed.startsWith("-")) return filterByPrefix(typed, values);
  if (before !== undefined && takesValue(command, before)) return [];
  if (typed.startsWith("-"))
    return filterByPrefix(
      typed,
      listOptions(command).flatMap((option) => option.long ?? []),
    );
  const subcommands = new Help().visibleCommands(command).map((one) => one.name());
  const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
  return filterByPrefix(typed, [...subcommands, ...choices]);
}

function findSubcommand(command: Command, word: string): Command | undefined {
  return command.commands.find((one) => one.name() === word);
}

/** Lists the options of the command and of its ancestors. */
function listOptions(command: Command): Option[] {
  const own = [...command.options, ...listDefaultVerbOptions(command)];
  const all = command.parent === null ? own : [...own, ...listOptions(command.parent)];
  return all.filter((option) => !option.hidden);
}

/** The default subcommand of a command. */
const DEFAULT_VERBS: Readonly<Record<string, string>> = { transactions: "list" };

function listDefaultVerbOptions(command: Command): readonly Option[] {
  const verb = DEFAULT_VERBS[command.name()];
  return command.commands.find((one) => one.name() === verb)?.options ?? [];
}

function findOption(command: Command, word: string): Option | undefined {
  return listOptions(command).find((option) => option.long === word || option.short === word);
}

function takesValue(command: Command, word: string): boolean {
  return findOption(command, word)?.required === true;
}

function filterByPrefix(typed: string, candidates: readonly string[]): string[] {
  return [...new Set(candidates)].filter((candidate) => candidate.startsWith(typed)).toSorted();
}
