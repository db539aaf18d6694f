import type { VmRecord } from "../contract/vm-record.ts";
import { isFinal } from "../contract/vm-state.ts";
import type { ApiDeps } from "./api-deps.ts";

export interface WaitOptions {
  /** What is known of the VM by now; given back if nothing newer can be read. */
  readonly record: VmRecord;
  readonly until: (record: VmRecord) => boolean;
  readonly timeoutMs: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * Waits until a VM has got somewhere, or the time is over; gives the newest record either way. A Redis that goes away
 * meanwhile does not end the wait: what was accepted stays accepted.
 */
export async function waitForVm(
  deps: Pick<ApiDeps, "watch" | "store" | "gate" | "limits">,
  options: WaitOptions,
): Promise<VmRecord> {
  const { until, timeoutMs, signal } = options;
  const deadline = performance.now() + timeoutMs;
  let { record } = options;
  using changes = deps.watch.open(record.vmId);
  for (;;) {
    record = (await readAgain(deps, record.vmId)) ?? record;
    const leftMs = deadline - performance.now();
    if (until(record) || leftMs <= 0) return record;
    if ((await changes.next(Math.min(leftMs, deps.limits.recheckMs), signal)) === "stopped") return record;
  }
}

async function readAgain(
  { store, gate }: Pick<ApiDeps, "store" | "gate">,
  vmId: string,
): Promise<VmRecord | undefined> {
  try {
    return await gate.run(() => store.get(vmId));
  } catch {
    return undefined; // Redis is away for now; the next look may succeed, and the wait is bounded
  }
}

/** What a client that submits waits for: the guest runs, or answers its probe where one was asked for, or all is over. */
export function isUp({ state, spec }: VmRecord): boolean {
  const wantsReady = spec.probe !== undefined && spec.probe.type !== "none";
  return isFinal(state) || state === "ready" || (state === "running" && !wantsReady);
}

/** What a client that removes waits for. */
export function hasEnded({ state }: VmRecord): boolean {
  return isFinal(state);
}
