import type { GapNotice } from "../contract/http-query.ts";
import { compareStreamIds } from "../queue/event-log.ts";

/** Where a reader starts, and whether it misses something by that. */
export interface StartPosition {
  readonly after: string;
  readonly gap: GapNotice | undefined;
}

/**
 * Decides where a reader of the event stream starts. `0` asks for what is kept, so nothing can be missing. Any other
 * id that is older than what is kept may have been trimmed together with events after it, and one that is newer than
 * the newest event is of a stream that Redis has lost; both are told to the reader as a gap.
 */
export function startPosition(
  wanted: string | undefined,
  bounds: { readonly firstId: string | undefined; readonly lastId: string },
): StartPosition {
  const { firstId, lastId } = bounds;
  if (wanted === undefined) return { after: lastId, gap: undefined };
  if (/^0+(-0+)?$/.test(wanted)) return { after: "0-0", gap: undefined };
  if (compareStreamIds(wanted, lastId) > 0) return gapFrom(wanted, "reset");
  if (firstId !== undefined && compareStreamIds(wanted, firstId) < 0) return gapFrom(wanted, "trimmed");
  return { after: wanted, gap: undefined };
}

function gapFrom(wanted: string, reason: GapNotice["reason"]): StartPosition {
  return { after: "0-0", gap: { after: wanted, resumedAfter: "0-0", reason } };
}
