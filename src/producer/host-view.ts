import type { HostDetail, HostStatus, HostView } from "../contract/host-view.ts";
import { HOST_VMS_SHOWN } from "../contract/limits.ts";
import type { KnownHost } from "../queue/host-registry.ts";
import type { HeldVm } from "../queue/lost-vms.ts";

/** A host as every interface shows it. `held` are the VMs of all hosts. */
export function toHostView(host: KnownHost, held: readonly HeldVm[]): HostView {
  const { description, lease, awayUntilMs, seenAtMs } = host;
  const breaker = description?.breaker ?? null;
  return {
    id: host.hostId,
    status: statusOf(host),
    vms: vmsOf(host, held).length,
    slots: description?.slots ?? null,
    policy: description?.policy ?? null,
    breaker:
      breaker === null || breaker.openUntilMs <= host.nowMs
        ? null
        : { openUntil: time(breaker.openUntilMs), failures: breaker.failures, cause: breaker.cause },
    leaseLeftMs: lease?.leftMs ?? null,
    silentSince: lease !== undefined || seenAtMs === undefined ? null : time(seenAtMs),
    awayUntil: isAway(host) && awayUntilMs !== undefined ? time(awayUntilMs) : null,
    version: description?.version ?? null,
    address: description?.address ?? null,
    pools: description?.pools ?? [],
    ports: description?.ports ?? null,
    tee: description?.tee ?? null,
    accel: description?.accel ?? null,
    gpu: description?.gpu ?? null,
    startedAt: description === undefined ? null : time(description.startedAtMs),
  };
}

export function toHostDetail(host: KnownHost, held: readonly HeldVm[]): HostDetail {
  const vmIds = vmsOf(host, held).map(({ vmId }) => vmId);
  return { ...toHostView(host, held), vmIds: vmIds.slice(0, HOST_VMS_SHOWN) };
}

function vmsOf({ hostId }: KnownHost, held: readonly HeldVm[]): readonly HeldVm[] {
  return held.filter((vm) => vm.hostId === hostId);
}

function statusOf(host: KnownHost): HostStatus {
  const { description, lease, seenAtMs, nowMs } = host;
  if (lease !== undefined) return "live";
  if (isAway(host)) return "away";
  const lostAfterMs = description?.policy?.lostAfterMs;
  return lostAfterMs !== undefined && seenAtMs !== undefined && nowMs - seenAtMs >= lostAfterMs ? "lost" : "silent";
}

function isAway({ lease, awayUntilMs = 0, nowMs }: KnownHost): boolean {
  return lease === undefined && awayUntilMs > nowMs;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
