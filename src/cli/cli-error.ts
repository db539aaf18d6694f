import type { FieldProblem } from "../contract/errors.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";

interface CliErrorOptions extends ErrorOptions {
  readonly exitCode?: ExitCode;
  /** Stable code for programs: one of the API's catalogue, or of the command line's own. */
  readonly code?: string;
  readonly problems?: readonly FieldProblem[];
  /** The way out, as a sentence. */
  readonly hint?: string;
  readonly requestId?: string;
}

/** An error that is told to the user as it stands: what is wrong, with what, and the way out. Never with a stack. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly problems: readonly FieldProblem[];
  readonly hint: string | undefined;
  readonly requestId: string | undefined;

  constructor(message: string, options: CliErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CliError";
    this.exitCode = options.exitCode ?? EXIT.failed;
    this.code = options.code ?? "cli_error";
    this.problems = options.problems ?? [];
    this.hint = options.hint;
    this.requestId = options.requestId;
  }
}

/** Wrong words on the command line. */
export class UsageError extends CliError {
  constructor(message: string, options: Omit<CliErrorOptions, "exitCode"> = {}) {
    super(message, { code: "usage", ...options, exitCode: EXIT.usage });
    this.name = "UsageError";
  }
}
