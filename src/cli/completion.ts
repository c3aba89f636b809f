import { type Command, Help, type Option } from "commander";
import { examples } from "./options.js";

const SHELLS = ["bash", "zsh", "fish"] as const;

/** The shells ask for the candidates with the words that are typed; the last one is the word that is being typed. */
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

/** `grey completion`. */
export function addCompletionCommand(program: Command): void {
  const completion = program
    .command("completion")
    .description("print the script that lets a shell complete commands, options and their values");
  completion
    .command("words", { hidden: true })
    .description("print what the last of the words may be, for the scripts")
    .argument("[words...]")
    .addHelpText("after", examples("completion words -- transactions --ki"))
    .action((words: string[]) => {
      const candidates = candidatesFor(program, words);
      if (candidates.length > 0) process.stdout.write(`${candidates.join("\n")}\n`);
    });
  for (const shell of SHELLS) {
    completion
      .command(shell)
      .description(`print the script for ${shell}`)
      .addHelpText("after", INSTALL[shell] + examples(`completion ${shell}`))
      .action(() => {
        process.stdout.write(SCRIPTS[shell]);
      });
  }
}

const INSTALL: Readonly<Record<(typeof SHELLS)[number], string>> = {
  bash: "\nFor this and every later shell: grey completion bash >> ~/.bashrc; then open a new one.\n",
  zsh: "\nAfter compinit in ~/.zshrc: source <(grey completion zsh)\n",
  fish: "\nFor every later shell: grey completion fish > ~/.config/fish/completions/grey.fish\n",
};

/** What the last of the words may be: verbs, options, or the values of an option. */
export function candidatesFor(program: Command, words: readonly string[]): string[] {
  const typed = words.at(-1) ?? "";
  let command = program;
  let before: string | undefined;
  for (const word of words.slice(0, -1)) {
    const next = before === undefined || !takesValue(command, before) ? named(command, word) : undefined;
    if (next !== undefined) command = next;
    before = word;
  }
  const values = before === undefined ? undefined : valuesOf(optionOf(command, before));
  if (values !== undefined && !typed.startsWith("-")) return beginningWith(typed, values);
  if (before !== undefined && takesValue(command, before)) return [];
  if (typed.startsWith("-"))
    return beginningWith(
      typed,
      optionsOf(command).flatMap((option) => option.long ?? []),
    );
  const verbs = new Help().visibleCommands(command).map((one) => one.name());
  const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
  return beginningWith(typed, [...verbs, ...choices]);
}

function named(command: Command, word: string): Command | undefined {
  const verb = command.commands.find((one) => one.name() === word);
  return verb ?? undefined;
}

/** Those of the command and of all above it. */
function optionsOf(command: Command): Option[] {
  const own = [...command.options, ...defaultOf(command)];
  const all = command.parent === null ? own : [...own, ...optionsOf(command.parent)];
  return all.filter((option) => !option.hidden);
}

/** The verb that is meant when none is typed, by command. */
const DEFAULT_VERBS: Readonly<Record<string, string>> = { transactions: "list" };

function defaultOf(command: Command): readonly Option[] {
  const verb = DEFAULT_VERBS[command.name()];
  return command.commands.find((one) => one.name() === verb)?.options ?? [];
}

function optionOf(command: Command, word: string): Option | undefined {
  return optionsOf(command).find((option) => option.long === word || option.short === word);
}

function takesValue(command: Command, word: string): boolean {
  return optionOf(command, word)?.required === true;
}

function valuesOf(option: Option | undefined): readonly string[] | undefined {
  return option?.argChoices;
}

function beginningWith(typed: string, candidates: readonly string[]): string[] {
  return [...new Set(candidates)].filter((candidate) => candidate.startsWith(typed)).toSorted();
}
