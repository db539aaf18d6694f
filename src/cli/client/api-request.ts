import type { z } from "zod";
import { CliError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import { problemError } from "./problem-error.ts";

/** Longer than the API may take for anything but an open stream. */
export const REQUEST_TIMEOUT_MS = 30_000;

export interface ApiTarget {
  readonly baseUrl: URL;
  readonly signal: AbortSignal;
  readonly requestTimeoutMs?: number;
}

export interface ApiCall {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Below the base URL, without a leading slash. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One call with a JSON reply, checked by its schema. Errors are ready to be shown. */
export async function callApi<S extends z.ZodType>(target: ApiTarget, call: ApiCall, schema: S): Promise<z.output<S>> {
  const timeoutMs = target.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  const timeout = AbortSignal.timeout(timeoutMs);
  const response = await send(target, call, AbortSignal.any([target.signal, timeout]), timeoutMs);
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    throw connectionError(target, error, timeoutMs);
  }
  if (!response.ok) throw problemError(target.baseUrl, response, text);
  return parseReply(target.baseUrl, text, schema);
}

/** Opens an endless reply. Only the answer's head is bounded in time. */
export async function openStream(target: ApiTarget, call: ApiCall): Promise<AsyncIterable<Uint8Array>> {
  const timeoutMs = target.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  const head = new AbortController();
  const timer = setTimeout(() => head.abort(new DOMException("no answer in time", "TimeoutError")), timeoutMs);
  try {
    const response = await send(target, call, AbortSignal.any([target.signal, head.signal]), timeoutMs);
    if (!response.ok) throw problemError(target.baseUrl, response, await response.text());
    if (response.body === null) throw foreignReply(target.baseUrl, "an empty reply where a stream was expected");
    return response.body;
  } finally {
    clearTimeout(timer);
  }
}

async function send(target: ApiTarget, call: ApiCall, signal: AbortSignal, timeoutMs: number): Promise<Response> {
  const url = new URL(call.path, target.baseUrl);
  for (const [name, value] of Object.entries(call.query ?? {})) {
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined) url.searchParams.append(name, String(one));
  }
  const headers: Record<string, string> = { accept: "application/json, application/problem+json", ...call.headers };
  if (call.body !== undefined) headers["content-type"] = "application/json";
  const body = call.body === undefined ? {} : { body: JSON.stringify(call.body) };
  try {
    // A redirect could send a request with secrets to another host.
    return await fetch(url, { method: call.method ?? "GET", headers, signal, redirect: "error", ...body });
  } catch (error) {
    throw connectionError(target, error, timeoutMs);
  }
}

function parseReply<S extends z.ZodType>(baseUrl: URL, text: string, schema: S): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw foreignReply(baseUrl, "a reply that is not JSON");
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const first = parsed.error.issues[0];
    throw foreignReply(
      baseUrl,
      `a reply that this drover cannot read (${first?.path.join(".") ?? ""}: ${first?.message ?? ""})`,
    );
  }
  return parsed.data;
}

/** The API answered, and not as a drover API of this version does. */
export function foreignReply(baseUrl: URL, what: string): CliError {
  return new CliError(`${baseUrl.origin} gave ${what}`, {
    code: "foreign_reply",
    exitCode: EXIT.unreachable,
    hint: "Check --url or DROVER_URL: another program may listen there, or an API of another version.",
  });
}

/** The API was not reached, or was lost on the way. An abort by Ctrl-C passes through untouched. */
export function connectionError(target: ApiTarget, error: unknown, timeoutMs: number): unknown {
  if (target.signal.aborted) return target.signal.reason;
  if (error instanceof CliError) return error;
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new CliError(`${target.baseUrl.origin} did not answer within ${Math.round(timeoutMs / 1000)} s`, {
      code: "no_answer",
      exitCode: EXIT.unreachable,
      hint: "See whether the API is overloaded or something else listens there.",
      cause: error,
    });
  }
  const cause = systemCode(error);
  const refused = cause === "ECONNREFUSED";
  return new CliError(`no drover API can be reached at ${target.baseUrl.origin} (${cause})`, {
    code: refused ? "connection_refused" : "connection_failed",
    exitCode: EXIT.unreachable,
    hint: "Start one with `drover up`, or name another with --url or DROVER_URL.",
    cause: error,
  });
}

/** fetch hides the reason below `cause`, and below `errors` where several addresses were tried. */
function systemCode(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ("code" in at && typeof at.code === "string" && /^[A-Z_]+$/.test(at.code)) return at.code;
    if (at instanceof AggregateError && at.errors.length > 0) return systemCode(at.errors[0]);
  }
  return error instanceof Error ? error.message : String(error);
}
