import type { Checker } from "../history.ts";
import { pick, runOf } from "../history.ts";
import { outcomesByKey } from "../lives.ts";

/**
 * I12: the fates add up. There are no batches yet, so that the whole run is the batch: every key of which an answer
 * came is one VM, and ended and live ones together are as many as were accepted, those of lost answers included.
 */
export const fatesAddUp: Checker = (history) => {
  if (runOf(history).dataLoss) return [];
  const outcomes = [...outcomesByKey(history).values()];
  const accepted = outcomes.filter((outcome) => outcome === "accepted").length;
  const unknown = outcomes.filter((outcome) => outcome === "unknown").length;
  const vms = pick(history, "record").length;
  if (vms >= accepted && vms <= accepted + unknown) return [];
  const message = `${accepted} requests were accepted and ${unknown} may have been, and there are ${vms} VMs`;
  return [{ invariant: "I12", message }];
};
