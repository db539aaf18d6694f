import { Problem } from "../../contract/vm-view.ts";
import { CliError } from "../cli-error.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";

/** What a refusal of the API means for the command: its words, its field problems, a way out and an exit code. */
export function problemError(baseUrl: URL, response: Response, text: string): CliError {
  const problem = readProblem(text);
  if (problem === undefined) {
    return new CliError(`${baseUrl.origin} answered ${response.status} ${response.statusText}`.trimEnd(), {
      code: "foreign_reply",
      exitCode: EXIT.unreachable,
      hint: "This is not how a drover API answers. Check --url or DROVER_URL: another program may listen there.",
    });
  }
  const hint = wayOut(problem, response);
  return new CliError(headline(problem), {
    code: problem.code,
    exitCode: exitCodeOfStatus(problem.status),
    problems: problem.problems ?? [],
    ...(hint === undefined ? {} : { hint }),
    ...(problem.requestId === undefined ? {} : { requestId: problem.requestId }),
    cause: new RetryAfter(response.headers.get("retry-after")),
  });
}

/** Seconds that the API asks to wait before the next try. */
export class RetryAfter extends Error {
  readonly seconds: number | undefined;

  constructor(header: string | null) {
    super("the API asks to wait");
    const seconds = Number(header ?? Number.NaN);
    this.seconds = Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
  }
}

/** The API's own sentence, unless it only says what the field problems below it say again. */
function headline({ title, detail, problems = [] }: Problem): string {
  const repeats = problems.length > 0 && problems.every(({ message }) => detail.includes(message));
  return detail === "" || repeats ? title : detail;
}

function readProblem(text: string): Problem | undefined {
  try {
    return Problem.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // not JSON: the caller says that something else answered
  }
}

function exitCodeOfStatus(status: number): ExitCode {
  if (status === 404 || status === 410) return EXIT.notFound;
  if (status === 503) return EXIT.unreachable;
  if (status === 504) return EXIT.timeout;
  return status === 409 || status === 429 || status >= 500 ? EXIT.failed : EXIT.usage;
}

function wayOut(problem: Problem, response: Response): string | undefined {
  const after = new RetryAfter(response.headers.get("retry-after")).seconds;
  switch (problem.code) {
    case "vm_not_found":
      return "List what there is with `drover ls`.";
    case "batch_not_found":
      return "List what there is with `drover batch ls`.";
    case "host_not_found":
      return "List the hosts with `drover hosts`.";
    case "idempotency_conflict":
      return "Take another --idempotency-key, or send the first request again unchanged.";
    case "not_retryable":
      return "Only a failed VM can be retried. See its state with `drover get ID`.";
    case "secrets_gone":
      return "Submit the request again: secrets of a failed VM are kept for a while only.";
    case "secrets_key_missing":
      return "Set DROVER_SECRETS_KEY for API and workers; `drover up` makes a key by itself.";
    case "unauthenticated":
      return "Show a token with DROVER_TOKEN or DROVER_TOKEN_FILE; an operator makes one with `drover token add`.";
    case "forbidden":
      return "Ask an operator for a token with a role that may: `drover token add --role submitter` or operator.";
    case "too_many_requests":
      return after === undefined ? undefined : `Try again in ${after} s.`;
    case "host_not_allowed":
      return "Add the host name of your URL to DROVER_ALLOWED_HOSTS of the API, or use its address.";
    case "redis_unavailable":
      if (problem.detail.includes("try again")) return undefined;
      return `The API waits for Redis; try again${after === undefined ? "" : ` in ${after} s`}.`;
    case "internal_error":
      return problem.requestId === undefined
        ? undefined
        : `The API's log has more under request id ${problem.requestId}.`;
    default:
      return undefined;
  }
}
