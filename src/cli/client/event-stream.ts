import { setTimeout as delay } from "node:timers/promises";
import { GapNotice } from "../../contract/http-query.ts";
import { CloudEvent } from "../../contract/vm-event.ts";
import { linkSignals } from "../../runtime/link-signals.ts";
import { CliError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import { type ApiTarget, foreignReply, openStream } from "./api-request.ts";
import { type SseMessage, SseParser } from "./sse-parser.ts";

export type StreamItem =
  | { readonly kind: "event"; readonly event: CloudEvent; readonly streamId: string | undefined }
  /** Events were lost for this reader: what it knows of any VM may be old. */
  | { readonly kind: "gap"; readonly notice: GapNotice }
  /** The connection stands. Not `complete`: opened again without a place to resume at, so events may be missing. */
  | { readonly kind: "open"; readonly complete: boolean };

export interface StreamOptions {
  /** Resume after this event of the stream; "0" starts with the oldest that is kept. Undefined: only what is new. */
  readonly after?: string;
  readonly filter?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** How long a lost API is tried again before the stream gives up. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 60_000;
/** The API sends a sign of life every 15 s; after four that are missing the connection is dead, whatever TCP thinks. */
const SILENCE_MAX_MS = 60_000;
const RECONNECT_FIRST_MS = 250;
const RECONNECT_MAX_MS = 5_000;

/**
 * The events of `GET /v1/events`, without end. A connection that is lost, or cut because this reader was slow, is opened
 * again where it stopped. Ends by throwing: when the first connection fails, when patience ends, or by the signal.
 */
export async function* streamEvents(target: ApiTarget, options: StreamOptions): AsyncGenerator<StreamItem> {
  const place: Place = { lastId: options.after, again: false };
  let lostAtMs: number | undefined;
  for (let attempt = 0; ; attempt += 1) {
    try {
      for await (const item of readOnce(target, options.filter ?? {}, place)) {
        attempt = 0;
        lostAtMs = undefined;
        yield item;
      }
    } catch (error) {
      const mayRecover =
        error instanceof CliError && error.exitCode === EXIT.unreachable && error.code !== "foreign_reply";
      if (!place.again || !mayRecover) throw error;
      lostAtMs ??= Date.now();
      if (Date.now() - lostAtMs > (options.patienceMs ?? PATIENCE_MS)) throw error;
    }
    await pause(Math.min(RECONNECT_FIRST_MS * 2 ** attempt, RECONNECT_MAX_MS), target.signal);
  }
}

/** Where a stream goes on when its connection is opened again. */
interface Place {
  lastId: string | undefined;
  again: boolean;
}

async function* readOnce(
  target: ApiTarget,
  filter: NonNullable<StreamOptions["filter"]>,
  place: Place,
): AsyncGenerator<StreamItem> {
  const silence = new AbortController();
  const either = linkSignals([target.signal, silence.signal]);
  const timer = setTimeout(() => silence.abort(silentError(target)), SILENCE_MAX_MS);
  const headers: Record<string, string> = { accept: "text/event-stream, application/problem+json" };
  if (place.lastId !== undefined) headers["last-event-id"] = place.lastId;
  try {
    const body = await openStream({ ...target, signal: either.signal }, { path: "v1/events", query: filter, headers });
    yield { kind: "open", complete: !place.again || place.lastId !== undefined };
    place.again = true;
    const parser = new SseParser();
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      timer.refresh();
      for (const message of parser.push(decoder.decode(chunk, { stream: true }))) {
        const item = toItem(target, message);
        if (item !== undefined) yield item;
        place.lastId = message.id ?? place.lastId;
      }
      place.lastId = parser.lastId ?? place.lastId;
    }
  } finally {
    either.release();
    clearTimeout(timer);
  }
}

function silentError(target: ApiTarget): CliError {
  return new CliError(`${target.baseUrl.origin} has said nothing for ${SILENCE_MAX_MS / 1000} s`, {
    code: "no_answer",
    exitCode: EXIT.unreachable,
  });
}

/** Undefined for an event of a newer API that this drover has no words for. */
function toItem(target: ApiTarget, message: SseMessage): StreamItem | undefined {
  let json: unknown;
  try {
    json = JSON.parse(message.data);
  } catch {
    throw foreignReply(target.baseUrl, "an event that is not JSON");
  }
  if (message.event === "gap") {
    const notice = GapNotice.safeParse(json);
    if (!notice.success) throw foreignReply(target.baseUrl, "a notice of a gap that this drover cannot read");
    return { kind: "gap", notice: notice.data };
  }
  const event = CloudEvent.safeParse(json);
  return event.success ? { kind: "event", event: event.data, streamId: message.id } : undefined;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    throw signal.reason;
  }
}
