import { setTimeout as delay } from "node:timers/promises";
import type { z } from "zod";
import { type TlsFailure, tlsFailureOf } from "../../runtime/tls/tls-failure.ts";
import { CliError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import type { ClientAccess } from "./client-access.ts";
import { problemError, RetryAfter } from "./problem-error.ts";

/** Longer than the API may take for anything but an open stream. */
const REQUEST_TIMEOUT_MS = 30_000;
const TRIES_MAX = 5;
/** An API that asks for more is not waited for in full. */
const ASKED_MAX_MS = 60_000;

export interface ApiTarget {
  readonly baseUrl: URL;
  readonly signal: AbortSignal;
  readonly requestTimeoutMs?: number;
  /** Without it requests go without a token, and TLS trusts what Node trusts. */
  readonly access?: ClientAccess;
}

export interface ApiCall {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Below the base URL, without a leading slash. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly body?: unknown;
  /** In place of `body`: bytes that are sent as they are read. */
  readonly upload?: { readonly contentType: string; readonly bytes: AsyncIterable<Uint8Array> };
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * One call with a JSON reply, checked by its schema. Errors are ready to be shown. What an API that has too much to do
 * asks to wait is waited for; a submit has its own patience (see `submitPatiently`).
 */
export async function callApi<S extends z.ZodType>(target: ApiTarget, call: ApiCall, schema: S): Promise<z.output<S>> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await callOnce(target, call, schema);
    } catch (error) {
      const pauseMs = call.method === "POST" || attempt === TRIES_MAX ? undefined : askedPauseMs(error);
      if (pauseMs === undefined) throw error;
      await delay(pauseMs, undefined, { signal: target.signal }).catch(() => {
        throw target.signal.reason;
      });
    }
  }
}

function askedPauseMs(error: unknown): number | undefined {
  if (!(error instanceof CliError) || error.code !== "too_many_requests") return undefined;
  const seconds = error.cause instanceof RetryAfter ? error.cause.seconds : undefined;
  return seconds === undefined ? undefined : Math.min(seconds * 1_000, ASKED_MAX_MS);
}

async function callOnce<S extends z.ZodType>(target: ApiTarget, call: ApiCall, schema: S): Promise<z.output<S>> {
  const { response, text } = await bounded(target, async (signal) => {
    const answered = await send(target, call, signal);
    return { response: answered, text: await answered.text() };
  });
  if (!response.ok) throw problemError(target.baseUrl, response, text);
  return parseReply(target.baseUrl, text, schema);
}

/** Opens an endless reply. Only the answer's head is bounded in time. Ends with the target's signal, by its reason. */
export async function openStream(target: ApiTarget, call: ApiCall): Promise<AsyncGenerator<Uint8Array>> {
  const { response, text } = await bounded(target, async (signal) => {
    const answered = await send(target, call, signal);
    return { response: answered, text: answered.ok ? "" : await answered.text() };
  });
  if (!response.ok) throw problemError(target.baseUrl, response, text);
  if (response.body === null) throw foreignReply(target.baseUrl, "an empty reply where a stream was expected");
  return readStream(target, response.body);
}

async function* readStream(target: ApiTarget, body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { signal } = target;
  const reader = body.getReader();
  const hangUp = () => void reader.cancel().catch(() => undefined); // lost already: as good
  signal.addEventListener("abort", hangUp, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return;
      yield value;
    }
  } catch (error) {
    throw connectionError(target, error);
  } finally {
    signal.removeEventListener("abort", hangUp);
    hangUp(); // also when the consumer has left: the connection is of no use to anybody
  }
}

/**
 * Does one piece of HTTP within the time limit and until the target's signal. Both end the wait by themselves: a signal
 * that only fetch knows of may be garbage by the time it is needed (see link-signals.ts).
 */
async function bounded<T>(target: ApiTarget, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal } = target;
  const inside = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let onAbort: () => void = () => undefined;
  const ended = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(noAnswer(target)), timeoutOf(target));
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work(inside.signal), ended]);
  } catch (error) {
    inside.abort();
    throw connectionError(target, error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function send(target: ApiTarget, call: ApiCall, signal: AbortSignal): Promise<Response> {
  const { token, fetch: fetchOver = fetch } = target.access ?? {};
  const init = initOf(call);
  const headers = token === undefined ? init.headers : { ...init.headers, authorization: `Bearer ${token}` };
  return fetchOver(urlOf(target, call), { ...init, headers, signal });
}

function urlOf(target: ApiTarget, { path, query = {} }: ApiCall): URL {
  const url = new URL(path, target.baseUrl);
  for (const [name, value] of Object.entries(query)) {
    const values = Array.isArray(value) ? value : [value];
    for (const one of values) if (one !== undefined) url.searchParams.append(name, String(one));
  }
  return url;
}

function initOf({ method = "GET", body, upload, headers: own }: ApiCall): RequestInit & {
  readonly headers: Record<string, string>;
} {
  const headers: Record<string, string> = { accept: "application/json, application/problem+json", ...own };
  // A redirect could send a request with secrets to another host.
  const init = { method, headers, redirect: "error" as const };
  if (upload !== undefined) {
    headers["content-type"] = upload.contentType;
    return { ...init, body: ReadableStream.from(upload.bytes), duplex: "half" };
  }
  if (body === undefined) return init;
  headers["content-type"] = "application/json";
  return { ...init, body: JSON.stringify(body) };
}

function timeoutOf(target: ApiTarget): number {
  return target.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
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

/** The API was not reached, or was lost on the way. The reason of an abort and a told error pass through untouched. */
function connectionError(target: ApiTarget, error: unknown): unknown {
  if (target.signal.aborted) return target.signal.reason;
  if (error instanceof CliError) return error;
  const tls = tlsFailureOf(error);
  if (tls !== undefined) return tlsError(target.baseUrl, tls, error);
  const cause = systemCode(error);
  return new CliError(`no drover API can be reached at ${target.baseUrl.origin} (${cause})`, {
    code: cause === "ECONNREFUSED" ? "connection_refused" : "connection_failed",
    exitCode: EXIT.unreachable,
    hint: HUNG_UP.test(cause)
      ? hungUpHint(target.baseUrl)
      : "Start one with `drover up`, or name another with --url or DROVER_URL.",
    cause: error,
  });
}

/** As a listener with TLS does to a client without, and one that asks for certificates to a client that has none. */
const HUNG_UP = /^(ECONNRESET|UND_ERR_SOCKET|HPE_.*)$/;
const MEND_OWN = "show one with DROVER_CLIENT_CERT and DROVER_CLIENT_KEY.";

function hungUpHint({ protocol }: URL): string {
  return protocol === "https:"
    ? `The other side hung up. Where it asks clients for a certificate, ${MEND_OWN}`
    : "The other side hung up. Where the API has TLS, write https:// in --url or DROVER_URL.";
}

const TLS_MENDS: Readonly<Record<TlsFailure["mend"], string>> = {
  ca: "Name the CA of its certificate with DROVER_CA_CERTS; a certificate that signed itself is its own CA.",
  "own-certificate": `Clients need a certificate there: ${MEND_OWN}`,
  peer: "Mend the certificate of the API, or use a name that stands in it.",
  scheme: "Write http:// in --url or DROVER_URL, or give the API a certificate.",
};

function tlsError({ origin }: URL, { reason, mend }: TlsFailure, cause: unknown): CliError {
  return new CliError(`${origin} cannot be trusted or does not trust this client: ${reason}`, {
    code: "tls_failed",
    exitCode: EXIT.unreachable,
    hint: TLS_MENDS[mend],
    cause,
  });
}

function noAnswer(target: ApiTarget): CliError {
  return new CliError(`${target.baseUrl.origin} did not answer within ${Math.round(timeoutOf(target) / 1000)} s`, {
    code: "no_answer",
    exitCode: EXIT.unreachable,
    hint: "See whether the API is overloaded or something else listens there.",
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
