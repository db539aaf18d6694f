import { LaunchFailure } from "../contract/causes.ts";
import { DroverError, type FieldProblem } from "../contract/errors.ts";
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

/** Any thrown thing as an error that can be told. Problems of the configuration are wrong usage. */
export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error;
  if (error instanceof DroverError) {
    const [headline = ""] = error.problems.length === 0 ? [error.message] : error.message.split(":\n");
    const exitCode = error.code === "config_invalid" || error.code === "invalid_request" ? EXIT.usage : EXIT.failed;
    return new CliError(headline, { code: error.code, exitCode, problems: error.problems, cause: error });
  }
  // What a host lacks for every launch is told at its start, too.
  if (error instanceof LaunchFailure)
    return new CliError(error.message, { code: error.failure.code, exitCode: EXIT.usage, cause: error });
  return new CliError(`unexpected: ${error instanceof Error ? error.message : String(error)}`, {
    code: "unexpected",
    hint: "This is a defect of drover. Run the same with --stack to see where it comes from.",
    cause: error,
  });
}
