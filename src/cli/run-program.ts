import { toCliError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { Interrupted } from "./interrupted.ts";
import { HelpShown } from "./new-command.ts";
import { printError } from "./print-error.ts";
import { createProgram } from "./program.ts";
import type { CliContext } from "./terminal.ts";

/** Runs one command line. Errors are told here; gives the exit code where the command has not set one itself. */
export async function runProgram(
  context: CliContext,
  words: readonly string[],
  own: { readonly version: string; readonly node: string },
): Promise<number | undefined> {
  try {
    // Without any word: the help, on standard output, because nothing went wrong.
    await createProgram(context, own).parseAsync(words.length === 0 ? ["--help"] : [...words], { from: "user" });
    return undefined;
  } catch (error) {
    if (error instanceof HelpShown) return EXIT.ok;
    if (error instanceof Interrupted) return error.exitCode;
    if (words.includes("--stack") && error instanceof Error) context.terminal.err(`${error.stack ?? error.message}\n`);
    printError(context.terminal, error, { json: words.includes("--json") });
    return toCliError(error).exitCode;
  }
}
