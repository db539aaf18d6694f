import { useEffect } from "preact/hooks";
import { observable } from "./observable.js";

const EVERYTHING = "/v1/events";

/** Which events the page's one stream brings: all that its visitor may see, unless a view asks for others. */
export const eventPath = observable(EVERYTHING);

/**
 * While the view is shown, the stream brings the whole story of one VM.
 * @param {string} vmId
 * @param {string | undefined} createdAt undefined as long as it is not known: nothing changes yet
 */
export function useStoryOf(vmId, createdAt) {
  useEffect(() => {
    if (createdAt === undefined) return;
    // An event's id begins with its time, by the same clock.
    eventPath.set(`${EVERYTHING}?vm=${encodeURIComponent(vmId)}&after=${Date.parse(createdAt) - 1}-0`);
    return () => eventPath.set(EVERYTHING);
  }, [vmId, createdAt]);
}
