import type { Checker } from "../history.ts";
import { pick } from "../history.ts";
import { CLOCK_SLACK_MS, livesOf } from "../lives.ts";

/** I8: no launch while the host has as many VMs as it may; a lowered bound ends none that runs. */
export const withinTheSlots: Checker = (history) => {
  const lives = livesOf(history);
  const starts = pick(history, "worker").filter(({ value }) => value.what === "start");
  return lives.flatMap((life, index) => {
    const bound = starts.findLast(({ t, value }) => value.host === life.host && t <= life.fromMs)?.value.maxVms ?? 0;
    if (bound <= 0) return [];
    const others = new Set(
      lives
        .slice(0, index)
        .filter(
          ({ host, vmId, untilMs }) =>
            host === life.host && vmId !== life.vmId && untilMs > life.fromMs + CLOCK_SLACK_MS,
        )
        .map(({ vmId }) => vmId),
    );
    if (others.size < bound) return [];
    const message = `was launched on ${life.host} at ${Math.round(life.fromMs)}, where ${others.size} VMs lived and ${bound} may`;
    return [{ invariant: "I8", vmId: life.vmId, message }];
  });
};
