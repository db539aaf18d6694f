import type { Checker, History, Violation } from "../history.ts";
import { pick, runOf } from "../history.ts";
import { CLOCK_SLACK_MS, eventsByVm, type Life, livesOf, silentSpans } from "../lives.ts";

/** Guests that end or break by themselves. */
const SHORT_LIVED = /^(brief|poweroff|panic|exit|fake-)/;

/**
 * I13: nothing that happens to workers, API and Redis ends a running VM. A QEMU that ran and ended did so because
 * somebody asked for it, because the nemesis killed it, by its guest, or by the policy for a host that was silent long
 * enough. (Not among I1-I12: it is what the others are for.)
 */
export const noVmIsDisturbed: Checker = (history) => [...endedByNobody(history), ...blamed(history)];

function endedByNobody(history: History): Violation[] {
  const { policy, hostLostAfterMs, leaseMs, dataLoss } = runOf(history);
  const events = eventsByVm(history);
  const killed = pick(history, "signal").filter(({ value }) => value.signal === "SIGKILL");
  const lives = livesOf(history);
  const hosts = new Set(lives.map(({ host }) => host));
  const silent = new Map([...hosts].map((host) => [host, silentSpans(history, host)]));
  const wasLost = ({ host, untilMs }: Life) =>
    policy === "rerun" &&
    (silent.get(host) ?? []).some(
      (span) =>
        span.fromMs + hostLostAfterMs - leaseMs - HEARD_BEFORE_MS <= untilMs && span.untilMs + 10_000 >= untilMs,
    );
  return lives.flatMap((life): Violation[] => {
    const { vmId, epoch, pid, untilMs, goneMs } = life;
    const mine = events.get(vmId) ?? [];
    const running = mine.find(({ value }) => value.name === "vm.running" && value.data["epoch"] === epoch);
    if (!life.ended || running === undefined || SHORT_LIVED.test(life.mode)) return [];
    // The one before, whose port was taken, is not the one that ran.
    const next = lives.find((other) => other.vmId === vmId && other.epoch === epoch && other.fromMs > life.fromMs);
    if (next !== undefined && next.fromMs < running.t) return [];
    const asked = mine.some(({ t, value }) => value.name === "vm.removal_requested" && t <= goneMs + CLOCK_SLACK_MS);
    const byNemesis = killed.some(({ t, value }) => value.pid === pid && t <= goneMs + CLOCK_SLACK_MS);
    if (asked || byNemesis || wasLost(life)) return [];
    if (dataLoss && mine.at(-1)?.value.name !== "vm.running") return []; // who asked may be among what was lost
    const message = `launch ${epoch} ran on ${life.host} (pid ${pid}), and was ended at ${Math.round(untilMs)} by nobody's wish`;
    return [{ invariant: "I13", vmId, message }];
  });
}

/** Causes that cost an attempt and that only somebody who ends the QEMU can bring about. */
const KILLED = new Set(["qemu_killed", "qemu_vanished", "host_shutdown", "worker_crashed", "host_lost"]);

/** A VM pays an attempt for what the nemesis did to its QEMU, and for nothing that was done to drover. */
function blamed(history: History): Violation[] {
  const killed = new Set(pick(history, "signal").map(({ vmId }) => vmId));
  return [...eventsByVm(history)].flatMap(([vmId, events]) =>
    events.flatMap(({ value: { name, data } }): Violation[] => {
      if ((name !== "vm.retrying" && name !== "vm.failed") || killed.has(vmId)) return [];
      const { code } = (data["cause"] ?? {}) as { code?: string };
      if (code === undefined || !KILLED.has(code)) return [];
      return [{ invariant: "I13", vmId, message: `paid with an attempt for ${code}, and nobody had touched its QEMU` }];
    }),
  );
}

/** A host was heard for the last time up to a renewal before it fell silent, and the history's clock is a rough one. */
const HEARD_BEFORE_MS = 800;
