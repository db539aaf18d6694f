import type { EventFeed } from "../queue/event-feed.ts";
import { compareStreamIds, type EventLog, type StoredEvent } from "../queue/event-log.ts";
import { EventBacklog } from "./event-backlog.ts";
import { type EventFilter, eventFrame, gapFrame, heartbeatFrame, openingFrame, passes } from "./event-frame.ts";
import type { StartPosition } from "./event-position.ts";
import type { OpenAnswer } from "./open-answer.ts";

const REPLAY_PAGE_EVENTS = 200;

export interface EventStreamOptions {
  readonly log: Pick<EventLog, "read">;
  readonly feed: Pick<EventFeed, "subscribe">;
  readonly answer: Pick<OpenAnswer, "write" | "signal">;
  readonly filter: EventFilter;
  readonly start: StartPosition;
  readonly heartbeatMs: number;
  readonly backlogMaxEvents: number;
  /** Aborted when the server shuts down. */
  readonly closing: AbortSignal;
}

/** Why a stream ended by itself. */
export type StreamEnd = "closing" | "slow";

/**
 * Writes events to one reader: first what is kept, from the log, then what comes, from the feed. The subscription
 * begins before the log is read, and nothing is written whose id is not above the last one, so that the seam loses and
 * repeats nothing. Throws `ReaderGone` when the reader leaves.
 */
export async function streamEvents(options: EventStreamOptions): Promise<StreamEnd> {
  const { answer, feed, filter, start, closing } = options;
  const backlog = new EventBacklog({ maxEvents: options.backlogMaxEvents, passes: ({ event }) => passes(event, filter) });
  const unsubscribe = feed.subscribe((batch) => backlog.add(batch));
  const stop = AbortSignal.any([answer.signal, closing]);
  try {
    let position = start.after;
    await answer.write(start.gap === undefined ? openingFrame(position) : gapFrame(start.gap) + openingFrame(position));
    position = await replay(options, backlog, position);
    for (;;) {
      for (const stored of backlog.take()) position = await writeNew(options, stored, position);
      if (backlog.overflown) return "slow"; // the feed outran this reader; it resumes where it stands
      position = newest(position, backlog.position);
      if (stop.aborted) return "closing";
      const before = position;
      await backlog.waiting(options.heartbeatMs, stop);
      if (!stop.aborted && newest(before, backlog.position) === before) await answer.write(heartbeatFrame(before));
    }
  } finally {
    unsubscribe();
  }
}

/** Reads the log to its end. A reader is not slow because the past is long, so the backlog may overflow meanwhile. */
async function replay(options: EventStreamOptions, backlog: EventBacklog, from: string): Promise<string> {
  let position = from;
  for (;;) {
    backlog.reset();
    const page = await options.log.read({ after: position, count: REPLAY_PAGE_EVENTS });
    for (const stored of page) {
      if (passes(stored.event, options.filter)) await options.answer.write(eventFrame(stored));
      position = stored.id;
    }
    if (options.closing.aborted || page.length < REPLAY_PAGE_EVENTS) return position;
  }
}

async function writeNew({ answer }: EventStreamOptions, stored: StoredEvent, position: string): Promise<string> {
  if (compareStreamIds(stored.id, position) <= 0) return position;
  await answer.write(eventFrame(stored));
  return stored.id;
}

function newest(a: string, b: string | undefined): string {
  return b !== undefined && compareStreamIds(b, a) > 0 ? b : a;
}
