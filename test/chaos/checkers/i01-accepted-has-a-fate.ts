import type { Checker } from "../history.ts";
import { pick, runOf } from "../history.ts";
import { eventsByVm, isFinalState, stateOf } from "../lives.ts";

/** I1: whatever was accepted lives, waits, or has ended exactly once; nothing accepted is lost. */
export const acceptedHasAFate: Checker = (history) => {
  if (runOf(history).dataLoss) return []; // what Redis itself lost is outside of the promise
  const events = eventsByVm(history);
  const records = new Map(pick(history, "record").map((entry) => [entry.vmId, entry.value]));
  const accepted = new Set(pick(history, "submit").flatMap(({ type, vmId }) => (type === "ok" && vmId ? [vmId] : [])));
  return [...accepted].flatMap((vmId) => {
    const record = records.get(vmId);
    const mine = events.get(vmId) ?? [];
    const problem = (message: string) => [{ invariant: "I1", vmId, message }];
    if (record === undefined && mine.length === 0) return problem("was accepted, and nobody has heard of it since");
    if (record === undefined) return problem("was accepted, and has no record any more");
    const states = mine.map(stateOf).filter((state) => state !== undefined);
    const fates = states.filter((state, index) => isFinalState(state) && !isRetried(states, index));
    if (fates.length > 1) return problem(`has ended ${fates.length} times: ${fates.join(", ")}`);
    if (isFinalState(record.state) && fates.length === 0) return problem(`is ${record.state}, and no event says so`);
    return [];
  });
};

/** A failed VM may be retried by hand: then that was not its end. */
function isRetried(states: readonly string[], index: number): boolean {
  return states[index] === "failed" && states[index + 1] === "queued";
}
