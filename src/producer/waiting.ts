import { isWantedOpen } from "../contract/host-wish.ts";
import { parsePlacementPool } from "../contract/placement.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { WAITING_STATES } from "../contract/vm-state.ts";
import { WAITING_REASONS, type WaitingReason, type WaitingView } from "../contract/waiting.ts";
import type { KnownHost } from "../queue/host-registry.ts";
import type { QueuePlace } from "../queue/queue-place.ts";
import { type FittingHost, hostsThatFit } from "./host-fit.ts";

type WaitingVm = Pick<VmRecord, "pool" | "avoid">;

/** What keeps one host from a VM that it could run. */
interface Obstacle {
  readonly reason: WaitingReason;
  /** Unix ms, where it ends by time. */
  readonly untilMs?: number;
}

/** From what is nearest to taking the VM to what is furthest, with how many of such hosts are told of. */
const OBSTACLES: readonly (readonly [WaitingReason, string])[] = [
  ["hosts_full", "full"],
  ["memory_full", "with too little memory left"],
  ["ports_full", "without a free port"],
  ["gpu_busy", "whose GPU another VM has"],
  ["tee_keys_full", "without a key left for a confidential VM"],
  ["avoided", "avoided for a while, because it failed there by the host's fault"],
  ["breaker_open", "resting, because launches kept failing there by the host's fault"],
  ["hosts_cordoned", "kept from new VMs by an operator"],
];

export function isWaiting({ state }: Pick<VmRecord, "state">): boolean {
  return (WAITING_STATES as readonly string[]).includes(state);
}

/** Why a VM waits, by where its job stands and what the hosts say of themselves. Pure. */
export function whyWaiting(vm: WaitingVm, place: QueuePlace, hosts: readonly KnownHost[]): WaitingView {
  const { live, warning } = hostsThatFit(hosts, vm.pool);
  const obstacles = live.flatMap((host) => obstacleOf(host, vm) ?? []);
  const withRoom = live.filter((host) => obstacleOf(host, vm) === undefined);
  const told = (reason: WaitingReason, message: string, untilMs?: number): WaitingView => ({
    reason,
    message,
    position: place.kind === "queued" ? place.ahead + 1 : null,
    retryAt: untilMs === undefined ? null : new Date(untilMs).toISOString(),
    hostsThatFit: live.length,
    hostsWithRoom: withRoom.length,
    freeSlots: withRoom.reduce((sum, host) => sum + freePlaces(host), 0),
  });
  if (place.kind === "delayed") return told("retry_later", WAITING_REASONS.retry_later, place.untilMs);
  if (place.paused) return told("paused", WAITING_REASONS.paused);
  if (place.kind === "absent") return told("just_accepted", WAITING_REASONS.just_accepted);
  if (place.kind === "fetched") return told("starting_soon", "A host has just fetched it.");
  if (warning !== undefined) return told(warning.code, warning.message);
  if (withRoom.length === 0) return told(...nearest(obstacles));
  if (place.ahead > 0)
    return told(
      "behind_others",
      `${place.ahead === 1 ? "One VM is" : `${place.ahead} VMs are`} before it in its queue.`,
    );
  return told("starting_soon", "It is the next one, and a host has room for it.");
}

function obstacleOf(
  { hostId, description, wish, nowMs }: FittingHost,
  { pool, avoid = {} }: WaitingVm,
): Obstacle | undefined {
  const { room, breaker } = description;
  if (!isWantedOpen(wish)) return { reason: "hosts_cordoned" };
  const openUntilMs = breaker?.openUntilMs ?? 0;
  if (openUntilMs > nowMs) return { reason: "breaker_open", untilMs: openUntilMs };
  const avoidUntilMs = avoid[hostId] ?? 0;
  if (avoidUntilMs > nowMs) return { reason: "avoided", untilMs: avoidUntilMs };
  if (room === undefined) return undefined; // an earlier version does not say: it may have room
  if (room.slots === 0) return { reason: "hosts_full" };
  if (room.ports === 0) return { reason: "ports_full" };
  if (room.teeKeys === 0) return { reason: "tee_keys_full" };
  const needs = parsePlacementPool(pool);
  if (needs?.gpu === true && !room.gpu) return { reason: "gpu_busy" };
  return room.sizes.includes(needs?.memoryClass ?? "") ? undefined : { reason: "memory_full" };
}

/** How many more VMs a host would take; one that does not say counts as none. */
function freePlaces({ description: { room } }: FittingHost): number {
  return room === undefined ? 0 : Math.min(room.slots ?? room.ports, room.ports);
}

/** The reason that counts, what all hosts say, and when the first of those hosts is free again where that has a time. */
function nearest(obstacles: readonly Obstacle[]): [WaitingReason, string, number | undefined] {
  const groups = OBSTACLES.flatMap(([reason, text]) => {
    const found = obstacles.filter((obstacle) => obstacle.reason === reason);
    return found.length === 0 ? [] : [{ reason, text: `${found.length} ${text}`, found }];
  });
  const [first] = groups;
  const untilMs = Math.min(...(first?.found ?? []).map((obstacle) => obstacle.untilMs ?? Number.POSITIVE_INFINITY));
  const hosts = obstacles.length === 1 ? "the one host" : `the ${obstacles.length} hosts`;
  const message = `Of ${hosts} that could run it: ${groups.map(({ text }) => text).join(", ")}.`;
  return [first?.reason ?? "hosts_full", message, Number.isFinite(untilMs) ? untilMs : undefined];
}
