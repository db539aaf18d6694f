import type { Checker } from "../history.ts";
import { pick, runOf } from "../history.ts";
import { eventsByVm, livesOf, outcomesByKey } from "../lives.ts";

/**
 * I2: every VM, event and process comes from a request that was accepted, or whose answer was lost. A request that was
 * refused starts nothing.
 */
export const noGhost: Checker = (history) => {
  const outcomes = outcomesByKey(history);
  const told = pick(history, "submit").flatMap(({ type, vmId }) => (type === "ok" && vmId !== undefined ? [vmId] : []));
  const accepted = new Set(told);
  const keys = new Map(pick(history, "record").map(({ vmId, value }) => [vmId, value.key]));
  const isKnown = (vmId: string) => accepted.has(vmId) || outcomes.get(keys.get(vmId) ?? "") === "unknown";
  const seen = new Map<string, string>();
  for (const { vmId } of livesOf(history)) seen.set(vmId, "a process");
  if (!runOf(history).dataLoss) for (const vmId of keys.keys()) seen.set(vmId ?? "", "a record");
  for (const vmId of eventsByVm(history).keys()) seen.set(vmId, "events");
  const ghosts = [...seen].filter(([vmId]) => !isKnown(vmId));
  // A record that was lost no longer says of which request it was: as many as have no answer may be without a name.
  const unknown = [...outcomes.values()].filter((outcome) => outcome === "unknown").length;
  if (runOf(history).dataLoss && ghosts.length <= unknown) return [];
  return ghosts.map(([vmId, what]) => ({
    invariant: "I2",
    vmId,
    message: `has ${what}, and no request that may have been accepted (key ${keys.get(vmId) ?? "unknown"})`,
  }));
};
