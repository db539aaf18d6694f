/**
 * The states of a VM. Each sentence says who leaves the state and what a crash of that one means.
 *
 * - `queued`: accepted, holds nothing. The worker that fetches the job leaves it; a crash changes nothing.
 * - `preparing`: a host holds a slot and a port and makes files. Its worker leaves it; after a crash the next start
 *   of that worker undoes files and port and gives the job back.
 * - `starting`: QEMU exists, QMP has not said `running` yet. Left as `preparing`; after a crash QEMU is ended first.
 * - `running`: QMP says running and the forwarded port is bound by this QEMU. Left by the VM's end or a stop.
 * - `ready`: the readiness probe answered; only for requests that ask for one. Left as `running`.
 * - `stopping`: a stop was asked for and the ladder is at work. The owner leaves it, bounded by the ladder.
 * - `retrying`: a launch failed or its host did, nothing is held, the job waits for its delay. As `queued`.
 * - `completed`, `removed`, `expired`: final, nothing is held, never runs again.
 * - `failed`: final unless somebody retries by hand while the secrets are still kept.
 */
export const VM_STATES = [
  "queued",
  "preparing",
  "starting",
  "running",
  "ready",
  "stopping",
  "retrying",
  "completed",
  "removed",
  "expired",
  "failed",
] as const;

export type VmState = (typeof VM_STATES)[number];

export const FINAL_STATES = ["completed", "removed", "expired", "failed"] as const satisfies readonly VmState[];
export type FinalState = (typeof FINAL_STATES)[number];

/** States in which no host holds anything for the VM. */
export const WAITING_STATES = ["queued", "retrying"] as const satisfies readonly VmState[];

/** States that a VM with a removal mark must never enter. */
export const LAUNCH_STATES = ["preparing", "starting", "running", "ready"] as const satisfies readonly VmState[];

export function isFinal(state: VmState): state is FinalState {
  return (FINAL_STATES as readonly VmState[]).includes(state);
}
