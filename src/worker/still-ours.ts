import { FINAL_STATES } from "../contract/vm-state.ts";
import type { Launch } from "./launch.ts";
import { type InHand, type MoveDeps, whenPossible } from "./move-vm.ts";

/** A launch on a host that has no lease for a while looks this often. */
const LEASE_LOOK_MS = 200;

export interface StillOursDeps extends Pick<MoveDeps, "ownership" | "clock"> {
  /** Whether nobody else can launch this host's VMs now: it surely holds its lease, and the guard is in time. */
  readonly mayLaunch: () => boolean;
}

/**
 * Asked last, since files may take long and Redis may have been away: the host holds its lease, from before the question
 * until after the answer, and nothing in the record speaks against the launch. A QEMU that is started later than the lease
 * lets would live beside the next launch of its VM, and the guard has looked already.
 */
export async function assertStillOurs(deps: StillOursDeps, { launch, stop }: InHand): Promise<void> {
  const { ownership, clock, mayLaunch } = deps;
  for (;;) {
    while (!mayLaunch()) await clock.pause(LEASE_LOOK_MS, stop.signal);
    const snapshot = await whenPossible(deps, stop, () => ownership.snapshot(launch.identity.vmId));
    if (!mayLaunch()) continue;
    if (snapshot !== undefined && isAgainst(snapshot, launch)) {
      stop.ask("superseded", { force: true });
      stop.signal.throwIfAborted();
    }
    launch.record = { ...launch.record, snapshot: withAttestation(snapshot, launch) }; // reaches the disk with the pid
    return;
  }
}

/** The record as Redis holds it, with what the policy of this launch is made of instead of an earlier one's. */
function withAttestation(snapshot: Readonly<Record<string, string>> | undefined, { attestation }: Launch) {
  if (snapshot === undefined) return null;
  const { attestation: _earlier, ...others } = snapshot;
  return attestation === undefined ? others : { ...others, attestation };
}

/** Positive evidence in a record against a launch; what Redis has merely forgotten is told again later. */
function isAgainst(snapshot: Readonly<Record<string, string>>, { identity }: Launch): boolean {
  if ((FINAL_STATES as readonly string[]).includes(snapshot["state"] ?? "")) return true;
  const epoch = Number(snapshot["epoch"] ?? 0);
  return epoch > identity.epoch || (epoch === identity.epoch && snapshot["host"] !== identity.host);
}
