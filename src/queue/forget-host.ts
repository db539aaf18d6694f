import type { HostRegistry } from "./host-registry.ts";
import type { LostVms } from "./lost-vms.ts";

export type ForgetOutcome =
  /** `alive`: the host has a lease. What was taken back before it came is told as well. */
  { readonly kind: "not_found" } | ({ readonly kind: "alive" | "forgotten" } & TakenBack);

/** The VMs of a forgotten host, by what became of them. */
interface TakenBack {
  readonly requeued: readonly string[];
  /** Those whose removal was asked for, or whose time was over; that they have ended is the operator's word. */
  readonly removed: readonly string[];
  /** Poisoned: this was one crash too many. */
  readonly failed: readonly string[];
}

/** What moves while it is looked at is looked at again so often; a host that is gone moves nothing. */
const ROUNDS_MAX = 3;

/**
 * An operator's word that a host is gone for good: its VMs go back into the queue, or are removed where that was asked
 * for, whatever the policy of the host; then the host leaves the registry. Can be repeated when it was interrupted.
 */
export async function forgetHost(
  { hosts, lostVms }: { hosts: HostRegistry; lostVms: LostVms },
  hostId: string,
): Promise<ForgetOutcome> {
  const taken = { requeued: [] as string[], removed: [] as string[], failed: [] as string[] };
  const known = await hosts.host(hostId);
  if (known?.lease !== undefined) return { kind: "alive", ...taken };
  const cause = { code: "host_lost", message: `host ${hostId} was forgotten by an operator` } as const;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const vms = (await lostVms.held()).filter((vm) => vm.hostId === hostId);
    if (vms.length === 0 && known === undefined && round === 0) return { kind: "not_found" };
    if (vms.length === 0) break;
    for (const vm of await lostVms.look(vms)) {
      const outcome = await lostVms.forget(vm, { cause });
      if (outcome === "alive") return { kind: "alive", ...taken };
      if (outcome === "queued" || outcome === "returned") taken.requeued.push(vm.vmId);
      if (outcome === "removed" || outcome === "expired") taken.removed.push(vm.vmId);
      if (outcome === "failed") taken.failed.push(vm.vmId);
    }
  }
  return { kind: await hosts.remove(hostId), ...taken };
}
