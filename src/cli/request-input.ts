import { readFile } from "node:fs/promises";
import type { FieldProblem } from "../contract/errors.ts";
import { VmRequest } from "../contract/vm-request.ts";
import { nearestWord } from "./choice.ts";
import { UsageError } from "./cli-error.ts";
import { type RequestFields, withFlags } from "./request-from-flags.ts";
import type { CliContext } from "./terminal.ts";

export interface InputRequest {
  /** Line of the file; undefined where there is only one request. */
  readonly line: number | undefined;
  readonly request: VmRequest;
}

/** All problems of a long file would only scroll away. */
const PROBLEMS_SHOWN_MAX = 20;

/**
 * The requests of `-f FILE`: one JSON object, or one on each line. Everything is read and checked before anything is
 * submitted, so that a mistake in line 900 does not leave 899 VMs behind.
 */
export async function readRequests(
  path: string,
  flags: RequestFields,
  context: CliContext,
): Promise<readonly InputRequest[]> {
  const text = await readText(path, context);
  const whole = parseJson(text);
  if (Array.isArray(whole)) {
    throw new UsageError(`${shownName(path)} holds a JSON array`, {
      hint: `Write one request on each line: jq -c '.[]' ${path} | drover submit -f -`,
    });
  }
  if (whole !== undefined) return [{ line: undefined, request: checkRequest(whole, flags, shownName(path)) }];
  return readLines(text, path, flags);
}

/** A request in the contract's own terms. Throws a usage error with every field at fault. */
export function checkRequest(fields: unknown, flags: RequestFields, source: string): VmRequest {
  const outcome = tryRequest(fields, flags);
  if ("request" in outcome) return outcome.request;
  throw new UsageError(`${source} is not a valid request`, { code: "invalid_request", problems: outcome.problems });
}

function readLines(text: string, path: string, flags: RequestFields): readonly InputRequest[] {
  const requests: InputRequest[] = [];
  const problems: FieldProblem[] = [];
  for (const [index, lineText] of text.split("\n").entries()) {
    if (lineText.trim() === "") continue;
    const line = index + 1;
    const json = parseJson(lineText);
    const outcome =
      json === undefined ? { problems: [{ field: "", message: "is not JSON" }] } : tryRequest(json, flags);
    if ("request" in outcome) requests.push({ line, request: outcome.request });
    else
      for (const { field, message } of outcome.problems)
        problems.push({ field: `line ${line}${field === "" ? "" : ` ${field}`}`, message });
  }
  if (problems.length > 0) {
    const more = problems.length - PROBLEMS_SHOWN_MAX;
    const shown = problems.slice(0, PROBLEMS_SHOWN_MAX);
    throw new UsageError(`${shownName(path)} is not valid; nothing was submitted`, {
      code: "invalid_request",
      problems: more > 0 ? [...shown, { field: "", message: `and ${more} more` }] : shown,
    });
  }
  if (requests.length === 0) throw new UsageError(`${shownName(path)} holds no request`);
  return requests;
}

function tryRequest(
  json: unknown,
  flags: RequestFields,
): { request: VmRequest } | { problems: readonly FieldProblem[] } {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return { problems: [{ field: "", message: "a request is a JSON object" }] };
  }
  const parsed = VmRequest.safeParse(withFlags({ ...json }, flags));
  if (parsed.success) return { request: parsed.data };
  return {
    problems: parsed.error.issues.flatMap((issue) => {
      const field = issue.path.join(".");
      if (issue.code !== "unrecognized_keys") return [{ field, message: issue.message }];
      return issue.keys.map((key) => ({ field: field === "" ? key : `${field}.${key}`, message: unknownField(key) }));
    }),
  };
}

function unknownField(key: string): string {
  const nearest = nearestWord(key.replace(/[_-]/g, ""), Object.keys(VmRequest.shape));
  return nearest === undefined ? "is no field of a request" : `is no field of a request (did you mean ${nearest}?)`;
}

async function readText(path: string, context: CliContext): Promise<string> {
  try {
    const bytes = path === "-" ? await context.terminal.readStdin() : await readFile(path);
    return bytes.toString("utf8").replace(/^\ufeff/, "");
  } catch (error) {
    throw new UsageError(`${shownName(path)} cannot be read: ${error instanceof Error ? error.message : ""}`);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // undefined is no JSON value, so it says "not JSON"
  }
}

function shownName(path: string): string {
  return path === "-" ? "standard input" : path;
}
