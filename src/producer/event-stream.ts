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
  readonly answer: Pick<OpenAnswer, "write" | "over">;
  readonly filter: EventFilter;
  readonly start: StartPosition;
  readonly heartbeatMs: number;
  readonly backlogMaxEvents: number;
}

/** Why a stream ended: nobody needs it any more, or its reader could not keep up and resumes where it stands. */
export type StreamEnd = "over" | "slow";

/**
 * Writes events to one reader: first what is kept, from the log, then what comes, from the feed. The subscription
 * begins before the log is read, and nothing is written whose id is not above the last one, so that the seam loses and
 * repeats nothing. Throws `ReaderGone` when the reader leaves.
 */
export async function streamEvents(options: EventStreamOptions): Promise<StreamEnd> {
  const { answer, feed, filter, start } = options;
  const backlog = new EventBacklog({
    maxEvents: options.backlogMaxEvents,
    passes: ({ event }) => passes(event, filter),
  });
  const unsubscribe = feed.subscribe((batch) => backlog.add(batch));
  try {
    await answer.write(
      start.gap === undefined ? openingFrame(start.after) : gapFrame(start.gap) + openingFrame(start.after),
    );
    let position = await replay(options, backlog);
    for (let quiet = false; ; ) {
      const { events, position: feedPosition } = backlog.take();
      for (const stored of events) position = await writeNew(options, stored, position);
      if (backlog.overflown) return "slow";
      position = newest(position, feedPosition);
      if (answer.over.aborted) return "over";
      if (quiet) await answer.write(heartbeatFrame(position));
      quiet = !(await backlog.waiting(options.heartbeatMs, answer.over));
    }
  } finally {
    unsubscribe();
  }
}

/** Reads the log to its end. A reader is not slow because the past is long, so the backlog may overflow meanwhile. */
async function replay(options: EventStreamOptions, backlog: EventBacklog): Promise<string> {
  const { answer, filter } = options;
  let position = options.start.after;
  for (;;) {
    backlog.reset(); // all of it is in the log, which is read after this
    const page = await options.log.read({ after: position, count: REPLAY_PAGE_EVENTS });
    for (const stored of page) {
      if (passes(stored.event, filter)) await answer.write(eventFrame(stored));
      position = stored.id;
    }
    // A short page is no proof of the end: events of a newer version are left out of it.
    if (answer.over.aborted || (page.length === 0 && !backlog.overflown)) return position;
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
