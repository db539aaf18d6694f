import { streamIs } from "./connection.js";
import { tellEvents } from "./event-bus.js";
import { eventPath } from "./event-path.js";
import { followEvents } from "./event-stream.js";
import { useWhileSeen } from "./while-seen.js";

/** Keeps the page's one event stream open. */
export function useEventStream() {
  const path = eventPath.use();
  useWhileSeen(
    (signal) => void followEvents({ path, onEvents: tellEvents, onOpen: opened, onLost: streamIs }, signal),
    [path],
  );
}

/** What happened while the stream was away shows in what is read now. */
function opened() {
  streamIs(undefined);
  tellEvents([]);
}
