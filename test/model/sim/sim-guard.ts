import type { Config } from "../../../src/runtime/config-shape.ts";
import { guardMarginMs } from "../../../src/worker/guard/guard-link.ts";
import type { GuardKeeper } from "../../../src/worker/guard-keeper.ts";
import type { SimHost } from "./sim-host.ts";

/**
 * The guard of a host, with its keeper: at the deadline all VMs die. Its own process, which can fail as well, is tested
 * with real ones.
 */
export function simGuard(host: SimHost, policy: Config["hostLost"], onLate: () => void): GuardKeeper {
  const isKept = policy.policy === "rerun";
  const leftMs = () =>
    host.guardDeadline === undefined ? Number.POSITIVE_INFINITY : host.guardDeadline - host.world.nowMs;
  let isLeaving = false;
  const refresh = async (sinceMs: number) => {
    if (!isKept || isLeaving) return;
    const wished = sinceMs + policy.afterMs - guardMarginMs(policy.afterMs);
    const before = host.guardDeadline ?? wished;
    const isLate = before <= host.world.nowMs;
    const isOvertaken = before > wished && before - host.world.nowMs <= policy.afterMs;
    host.guardUntil(isOvertaken ? before : wished);
    if (isLate) onLate();
  };
  if (!isKept) host.guardUntil(undefined);
  const guard = {
    get isInTime() {
      return !isKept || leftMs() > 0;
    },
    noteRenewal: refresh,
    noteTurn: async () => {
      if (policy.onPartition === "keep") await refresh(host.world.nowMs);
    },
    leave: async () => {
      isLeaving = true;
      const inMs = Math.max(policy.awayMaxMs, policy.afterMs);
      if (isKept) host.guardUntil(host.world.nowMs + inMs - guardMarginMs(inMs));
    },
    dismiss: async () => {
      isLeaving = true;
      if (isKept) host.guardUntil(undefined);
    },
  };
  void refresh(host.world.nowMs);
  return guard as unknown as GuardKeeper; // which has private parts that only the real one needs
}
