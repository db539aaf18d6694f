import type { HostDetail, HostStatus, HostView } from "../contract/host-view.ts";
import { evacuatesAtMs } from "../contract/host-wish.ts";
import { HOST_VMS_SHOWN } from "../contract/limits.ts";
import type { KnownHost } from "../queue/host-registry.ts";
import type { HeldVm } from "../queue/lost-vms.ts";

/** What is known of hosts beside what they say themselves. */
export interface HostFacts {
  /** The VMs of all hosts. */
  readonly held: readonly HeldVm[];
  /** How many ports are taken on each machine, by its boot id. */
  readonly portsTaken: ReadonlyMap<string, number>;
}

/** A host as every interface shows it. */
export function toHostView(host: KnownHost, { held, portsTaken }: HostFacts): HostView {
  const { description, lease, awayUntilMs, seenAtMs } = host;
  const vms = vmsOf(host, held).length;
  const breaker = description?.breaker ?? null;
  return {
    id: host.hostId,
    status: statusOf(host),
    vms,
    slots: description?.slots ?? null,
    policy: description?.policy ?? null,
    admission: admissionOf(host, vms),
    breaker:
      breaker === null || breaker.openUntilMs <= host.nowMs
        ? null
        : { openUntil: time(breaker.openUntilMs), failures: breaker.failures, cause: breaker.cause },
    leaseLeftMs: lease?.leftMs ?? null,
    seenAt: seenAtMs === undefined ? null : time(seenAtMs),
    silentSince: lease !== undefined || seenAtMs === undefined ? null : time(seenAtMs),
    awayUntil: isAway(host) && awayUntilMs !== undefined ? time(awayUntilMs) : null,
    version: description?.version ?? null,
    address: description?.address ?? null,
    pools: description?.pools ?? [],
    serves: [...(description?.serves ?? [])],
    ports: description?.ports ?? null,
    portsTaken: description === undefined ? null : (portsTaken.get(description.bootId) ?? 0),
    tee: description?.tee ?? null,
    accel: description?.accel ?? null,
    memory: memoryOf(description),
    memoryClasses: { ...description?.offer?.memoryClasses },
    labels: { ...description?.offer?.labels },
    room: roomOf(description),
    gpu: description?.gpu ?? null,
    machine: machineOf(description),
    startedAt: description === undefined ? null : time(description.startedAtMs),
    metrics: description?.metrics ?? null,
  };
}

export function toHostDetail(host: KnownHost, facts: HostFacts): HostDetail {
  const vmIds = vmsOf(host, facts.held).map(({ vmId }) => vmId);
  return { ...toHostView(host, facts), vmIds: vmIds.slice(0, HOST_VMS_SHOWN) };
}

function vmsOf({ hostId }: KnownHost, held: readonly HeldVm[]): readonly HeldVm[] {
  return held.filter((vm) => vm.hostId === hostId);
}

/** Whether the host's worker has heard what is wanted of it now. */
export function hasHeeded({ wish, description }: KnownHost): boolean {
  const told = description?.wish;
  return wish === undefined || (told?.kind === wish.kind && told.atMs === wish.atMs);
}

function admissionOf(host: KnownHost, vms: number): HostView["admission"] {
  const { wish, description, nowMs } = host;
  if (wish === undefined) {
    const open = { state: "open", since: null, by: null, note: null, evacuatesAt: null } as const;
    return { ...open, heeded: true, done: false, held: 0 };
  }
  const { kind, atMs, by, note } = wish;
  const heeded = hasHeeded(host);
  const evacuatesAt = evacuatesAtMs(wish);
  return {
    state: kind === "draining" && evacuatesAt !== undefined && nowMs >= evacuatesAt ? "evacuating" : kind,
    since: time(atMs),
    by,
    note,
    evacuatesAt: evacuatesAt === undefined ? null : time(evacuatesAt),
    heeded,
    done: heeded && vms === 0 && (kind === "draining" || kind === "evacuating"),
    held: heeded ? (description?.wish?.held ?? 0) : 0,
  };
}

function memoryOf(description: KnownHost["description"]): HostView["memory"] {
  if (description?.memory === undefined) return null;
  return { ...description.memory, freeBytes: description.room?.memoryBytes ?? null };
}

function roomOf(description: KnownHost["description"]): HostView["room"] {
  if (description?.room === undefined) return null;
  const { slots, ports, teeKeys, gpu } = description.room;
  return { slots, ports, teeKeys, gpu };
}

function machineOf(description: KnownHost["description"]): HostView["machine"] {
  if (description?.machine === undefined) return null;
  const { bootedAtMs, ...machine } = description.machine;
  return { ...machine, bootedAt: time(bootedAtMs) };
}

/** How a host stands, by its lease and by what it said when it left. */
export function statusOf(host: KnownHost): HostStatus {
  const { description, lease, seenAtMs, leftAtMs, nowMs } = host;
  if (lease !== undefined) return "live";
  if (isAway(host)) return "away";
  if (leftAtMs !== undefined) return "gone";
  const lostAfterMs = description?.policy?.lostAfterMs;
  return lostAfterMs !== undefined && seenAtMs !== undefined && nowMs - seenAtMs >= lostAfterMs ? "lost" : "silent";
}

function isAway({ lease, awayUntilMs = 0, nowMs }: KnownHost): boolean {
  return lease === undefined && awayUntilMs > nowMs;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
