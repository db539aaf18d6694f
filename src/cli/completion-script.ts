import type { Command, Option } from "commander";

/** What a shell needs to know of one command. */
interface CommandWords {
  readonly names: readonly string[];
  readonly about: string;
  readonly options: readonly OptionWords[];
  readonly takesIds: boolean;
  /** Words that an argument may be. */
  readonly words: readonly string[];
}

interface OptionWords {
  readonly flags: readonly string[];
  readonly about: string;
  readonly takes: "nothing" | "file" | "word" | "id";
  /** Where only certain words fit. */
  readonly words: readonly string[];
}

/** Reads the words out of the program itself, so that completion never knows less or more than the parser. */
export function commandWords(
  program: Command,
  wordsOf: (option: Option) => readonly string[],
): readonly CommandWords[] {
  return program.commands.map((command) => ({
    names: [command.name(), ...command.aliases()],
    about: command.summary(),
    options: [...withSubcommands(command).map((option) => optionWords(option, wordsOf)), HELP],
    takesIds: command.registeredArguments.some((argument) => argument.name() === "id"),
    words: [
      ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
      ...command.commands.map((subcommand) => subcommand.name()),
    ],
  }));
}

const HELP: OptionWords = { flags: ["-h", "--help"], about: "show this help", takes: "nothing", words: [] };

/** Those of a command and of its own commands. */
function withSubcommands(command: Command): readonly Option[] {
  return [...command.commands.flatMap((subcommand) => subcommand.options), ...optionsOf(command)];
}

/** Those that the command's own help shows. */
function optionsOf(command: Command): readonly Option[] {
  const help = command.createHelp();
  const globals = help.showGlobalOptions ? help.visibleGlobalOptions(command) : [];
  return [...command.options.filter((option) => !option.hidden), ...globals];
}

function optionWords(option: Option, wordsOf: (option: Option) => readonly string[]): OptionWords {
  const value = /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1];
  const flags = [option.short, option.long].filter((flag) => flag !== undefined && flag !== null);
  const takes =
    value === undefined
      ? "nothing"
      : value === "file"
        ? "file"
        : value === "id" && option.long === "--vm"
          ? "id"
          : "word";
  return { flags, about: option.description, takes, words: wordsOf(option) };
}

/** A script for bash, to be sourced. Needs nothing but bash itself. */
export function bashScript(commands: readonly CommandWords[]): string {
  const names = commands.flatMap((command) => command.names).join(" ");
  const valued = commands.flatMap((command) => command.options.filter((option) => option.takes !== "nothing"));
  const skip = [...new Set(valued.flatMap((option) => option.flags))].join("|");
  const cases = commands.map((command) => {
    const previous = command.options
      .filter((option) => option.takes !== "nothing")
      .map((option) => `        ${option.flags.join("|")}) ${bashValues(option)}; return ;;`);
    const flags = command.options.flatMap((option) => option.flags).filter((flag) => flag.startsWith("--"));
    const rest = command.takesIds
      ? "_drover_ids"
      : `COMPREPLY=($(compgen -W '${command.words.join(" ")}' -- "$current"))`;
    return [
      `    ${command.names.join("|")})`,
      "      case $previous in",
      ...previous,
      "      esac",
      `      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W '${flags.join(" ")}' -- "$current")); else ${rest}; fi`,
      "      ;;",
    ].join("\n");
  });
  return `# bash completion of drover:  source <(drover completion bash)
_drover_ids() { COMPREPLY=($(compgen -W "$(drover ls -q --limit 200 2>/dev/null)" -- "$current")); }
_drover() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} command= index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    case \${COMP_WORDS[index]} in
      ${skip}) ((index++)) ;;
      -*) ;;
      *) command=\${COMP_WORDS[index]}; break ;;
    esac
  done
  case $command in
    "") COMPREPLY=($(compgen -W '${names} --help --version' -- "$current")) ;;
${cases.join("\n")}
  esac
}
complete -F _drover drover
`;
}

function bashValues(option: OptionWords): string {
  if (option.takes === "file") return 'COMPREPLY=($(compgen -f -- "$current"))';
  if (option.takes === "id") return "_drover_ids";
  return `COMPREPLY=($(compgen -W '${option.words.join(" ")}' -- "$current"))`;
}

/** A script for zsh, to be sourced or put as _drover into a directory of fpath. */
export function zshScript(commands: readonly CommandWords[]): string {
  const describe = commands.flatMap((command) =>
    command.names.map((name) => `    ${zshQuote(`${name}:${command.about.replaceAll(":", "\\:")}`)}`),
  );
  const cases = commands.map((command) => {
    const specs = command.options.flatMap((option) =>
      option.flags.map((flag) => `        ${zshQuote(zshOption(option, flag))}`),
    );
    const rest = command.takesIds ? "'*:VM:_drover_ids'" : `'*:argument:(${command.words.join(" ")})'`;
    return [
      `      ${command.names.join("|")})`,
      "        _arguments -S \\",
      ...specs.map((spec) => `  ${spec} \\`),
      `          ${rest}`,
      "        ;;",
    ].join("\n");
  });
  return `#compdef drover
# zsh completion of drover:  source <(drover completion zsh)
_drover_ids() { local -a ids; ids=(\${(f)"$(drover ls -q --limit 200 2>/dev/null)"}); compadd -a ids; }
_drover() {
  local -a commands
  commands=(
${describe.join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join("\n")}
  esac
}
if [[ $funcstack[1] == _drover ]]; then _drover "$@"; else compdef _drover drover; fi
`;
}

function zshOption(option: OptionWords, flag: string): string {
  const about = option.about.replace(/[[\]:]/g, "\\$&");
  const action = {
    nothing: "",
    file: ":file:_files",
    id: ":VM:_drover_ids",
    word: `:value:(${option.words.join(" ")})`,
  }[option.takes];
  return `*${flag}[${about}]${action}`;
}

function zshQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
