import type { GapNotice } from "../contract/http-query.ts";
import type { CloudEvent } from "../contract/vm-event.ts";
import type { StoredEvent } from "../queue/event-log.ts";
import { itemOfVmId } from "../runtime/batch-id.ts";

/** Frames of one event are the same for all readers. */
const frames = new WeakMap<StoredEvent, string>();

/** An event in the format of server-sent events. JSON holds no raw line breaks, so one data line is enough. */
export function eventFrame(stored: StoredEvent): string {
  const known = frames.get(stored);
  if (known !== undefined) return known;
  const frame = `id: ${stored.id}\nevent: ${stored.event.type}\ndata: ${JSON.stringify(stored.event)}\n\n`;
  frames.set(stored, frame);
  return frame;
}

export function gapFrame(notice: GapNotice): string {
  return `event: gap\ndata: ${JSON.stringify(notice)}\n\n`;
}

/**
 * A sign of life. It carries the place in the stream, so that a reader whose filter lets little through does not fall
 * behind what is kept while it waits.
 */
export function heartbeatFrame(position: string): string {
  return `: heartbeat\nid: ${position}\n\n`;
}

/** What a browser does when the connection is lost, and where it stands before the first event. */
export function openingFrame(position: string): string {
  return `retry: 2000\nid: ${position}\n\n`;
}

export interface EventFilter {
  /** Undefined: everybody's events. */
  readonly owner: string | undefined;
  readonly types: readonly string[] | undefined;
  readonly vmIds: readonly string[] | undefined;
  /** Of this batch and of its VMs. */
  readonly batchId?: string | undefined;
}

export function passes(event: CloudEvent, { owner, types, vmIds, batchId }: EventFilter): boolean {
  return (
    (owner === undefined || event.owner === owner) &&
    (types === undefined || types.includes(event.type)) &&
    (vmIds === undefined || vmIds.includes(event.subject)) &&
    (batchId === undefined || event.subject === batchId || itemOfVmId(event.subject)?.batchId === batchId)
  );
}
