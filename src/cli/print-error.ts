import type { FieldProblem } from "../contract/errors.ts";
import { type CliError, toCliError } from "./cli-error.ts";
import { printable, wrap } from "./render/text-width.ts";
import { flagOfField } from "./request-flags.ts";
import type { Terminal } from "./terminal.ts";

/** Tells an error to a person, or to a program as one JSON line. Never with a stack. */
export function printError(terminal: Terminal, error: unknown, { json }: { readonly json: boolean }): void {
  const known = toCliError(error);
  terminal.err(json ? `${JSON.stringify({ error: toJson(known) })}\n` : toText(known, terminal));
}

/** Says in one line that a call is tried again; what is wrong is told in full when the last try fails, too. */
export function retryTeller(
  { errPaint, err }: Terminal,
  { json }: { readonly json: boolean },
): (why: CliError) => void {
  return ({ code }) => (json ? undefined : err(`${errPaint.yellow("trying again:")} ${code.replaceAll("_", " ")}\n`));
}

function toJson(error: CliError): object {
  return {
    code: error.code,
    message: error.message,
    problems: error.problems,
    hint: error.hint ?? null,
    requestId: error.requestId ?? null,
    exitCode: error.exitCode,
  };
}

function toText(error: CliError, terminal: Terminal): string {
  const { errPaint: paint, columns } = terminal;
  const [first = "", ...more] = error.message
    .split("\n")
    .flatMap((line) => wrap(printable(line.trimEnd()), columns - 7));
  const lines = [`${paint.red("error:")} ${first}`, ...more.map((line) => `       ${line}`)];
  lines.push(...problemLines(error.problems, columns));
  if (error.hint !== undefined) lines.push(...error.hint.split("\n").flatMap((line) => wrap(line, columns)));
  return `${lines.join("\n")}\n`;
}

/** Tells problems that are no error of the command, a line for each. */
export function printProblems({ err, columns }: Terminal, problems: readonly FieldProblem[]): void {
  if (problems.length > 0) err(`${problemLines(problems, columns).join("\n")}\n`);
}

function problemLines(problems: readonly FieldProblem[], columns: number): readonly string[] {
  return problems.flatMap(({ field, message }) => {
    const flag = flagOfField(field);
    const name = printable(flag === undefined ? field : `${field} (${flag})`);
    const [head = "", ...rest] = wrap(name === "" ? printable(message) : `${name}: ${printable(message)}`, columns - 4);
    return [`  - ${head}`, ...rest.map((line) => `    ${line}`)];
  });
}
