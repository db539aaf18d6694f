import type { Checker, Violation } from "../history.ts";
import { pick } from "../history.ts";
import {
  CLOCK_SLACK_MS,
  eventsByVm,
  groupBy,
  isFinalState,
  type Life,
  livesOf,
  overlapsOf,
  stateOf,
} from "../lives.ts";

/**
 * I7: once a VM has left a host (ended, or back in the queue) no process of it lives there, and after its end it never
 * runs again. A failed VM that was retried by hand has not ended.
 */
export const nothingAfterTheEnd: Checker = (history) => {
  const lives = groupBy(livesOf(history), ({ vmId }) => vmId);
  const copies = new Set<Life>(overlapsOf(history).flatMap(({ older, allowed }) => (allowed ? [older] : [])));
  const violations: Violation[] = [];
  for (const [vmId, events] of eventsByVm(history)) {
    for (const [index, entry] of events.entries()) {
      const state = stateOf(entry);
      if (state === undefined || !LEFT.has(state) || !isProved(entry.value.data)) continue;
      for (const life of lives.get(vmId) ?? [])
        if (life.fromMs < entry.t && life.untilMs > entry.t + CLOCK_SLACK_MS && !copies.has(life))
          violations.push({
            invariant: "I7",
            vmId,
            message: `was ${state} at ${Math.round(entry.t)}, and launch ${life.epoch} (pid ${life.pid}, ${life.host}) lived until ${Math.round(life.untilMs)}`,
          });
      const next = events
        .slice(index + 1)
        .map(stateOf)
        .find((later) => later !== undefined);
      if (!isFinalState(state) || (state === "failed" && (next === "queued" || next === undefined))) continue;
      if (next !== undefined)
        violations.push({ invariant: "I7", vmId, message: `was ${state}, and became ${next} after that` });
      for (const life of lives.get(vmId) ?? [])
        if (life.fromMs > entry.t + CLOCK_SLACK_MS)
          violations.push({ invariant: "I7", vmId, message: `was ${state}, and was launched again on ${life.host}` });
    }
  }
  return [...violations, ...removedTwice(history)];
};

const LEFT = new Set(["queued", "retrying", "completed", "removed", "expired", "failed"]);

/** A lost or forgotten host has proved nothing; the overlap of such a launch is the matter of I3. */
function isProved(data: Readonly<Record<string, unknown>>): boolean {
  return data["reason"] !== "host_lost" && data["reason"] !== "host_forgotten" && data["unverified"] !== true;
}

/** Who was told that the VM is gone must not find it alive later. */
function removedTwice(history: Parameters<Checker>[0]): Violation[] {
  const goneAt = new Map<string, number>();
  return [...pick(history, "remove"), ...pick(history, "get")]
    .sort((a, b) => a.t - b.t)
    .flatMap(({ t, type, vmId = "", value }) => {
      if (type !== "ok" || value.state === undefined) return [];
      const gone = goneAt.get(vmId);
      if (["removed", "expired", "completed"].includes(value.state)) goneAt.set(vmId, gone ?? t);
      else if (gone !== undefined && value.op > 0 && t > gone + 2_000)
        return [
          {
            invariant: "I7",
            vmId,
            message: `was told to be gone at ${Math.round(gone)}, and is ${value.state} at ${Math.round(t)}`,
          },
        ];
      return [];
    });
}
