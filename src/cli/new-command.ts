import { Command, type CommanderError } from "commander";
import { UsageError } from "./cli-error.ts";

/** What help prints: not an error, the end of the command all the same. */
export class HelpShown extends Error {}

const HELP = {
  showGlobalOptions: true,
  sortOptions: false,
  /** Those that change what a command does: not the version, which is the program's own. */
  visibleGlobalOptions: (command: Command) =>
    (programOf(command)?.options ?? []).filter((option) => !option.hidden && option.long !== "--version"),
};

/** The words that lead to a command: "drover hosts forget". */
function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** The program that a command belongs to; commands may have commands of their own. */
function programOf(command: Command): Command | null {
  let top = command.parent;
  while (top?.parent != null) top = top.parent;
  return top;
}

/** A command of drover's: wrong words end as a {@link UsageError} that names the command's own help. */
export function newCommand(
  name: string,
  options: { readonly summary: string; readonly about?: string; readonly examples?: readonly string[] },
): Command {
  const command = new Command(name)
    .summary(options.summary)
    .description(options.about ?? `${options.summary[0]?.toUpperCase()}${options.summary.slice(1)}.`)
    .allowExcessArguments(false)
    .helpOption("-h, --help", "show this help")
    .configureHelp(HELP)
    // Errors are printed once, by the entry point.
    .configureOutput({ outputError: () => undefined })
    .exitOverride((error) => {
      throw translate(error, `${pathOf(command)} --help`);
    });
  if (options.examples !== undefined)
    command.addHelpText("after", `\nExamples:\n${options.examples.map((line) => `  ${line}`).join("\n")}`);
  return command;
}

function translate(error: CommanderError, help: string): Error {
  const shown = ["commander.helpDisplayed", "commander.help", "commander.version"];
  if (shown.includes(error.code)) return new HelpShown();
  return new UsageError(error.message.replace(/^error: /, ""), { hint: `See \`${help}\`.` });
}
