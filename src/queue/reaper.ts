import type { Logger } from "pino";
import { isWantedOpen } from "../contract/host-wish.ts";
import { HOST_GONE_KEPT_MS } from "../contract/limits.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import { type Counting, NO_COUNTING } from "../runtime/metrics/meter.ts";
import type { HostRegistry, KnownHost } from "./host-registry.ts";
import type { HeldVm, LostVms, TakeBackOutcome } from "./lost-vms.ts";

const INTERVAL_MS = 5_000;
/** A host that wants to be reaped soon is looked at more often: so many times in the time that it may be silent. */
const LOOKS_PER_SILENCE = 5;
/** After a longer pause between two looks this reaper cannot say what happened in between. */
const GAP_MAX_INTERVALS = 3;

/**
 * Takes VMs back from hosts that are lost, as their own policy wants it, and forgets hosts that left without a VM long
 * ago. Runs in every API and worker; several at once
 * are harmless, since each VM is moved by one script that looks again.
 *
 * Silence counts from the last time that this reaper itself saw the owner's lease while it could reach Redis: after a
 * Redis that was away, or a pause of this process, it begins anew for all. An owner is a host with a state directory: a
 * lease that another directory took does not speak for the VMs of the one before.
 */
export class Reaper {
  readonly #hosts: HostRegistry;
  readonly #lostVms: LostVms;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #intervalMaxMs: number;
  readonly #counting: Counting;
  readonly #stopping = new AbortController();
  /** When each owner's lease was seen last; of one that never was, when it was first missed. Monotonic ms. */
  readonly #seenAt = new Map<string, number>();
  #lookedAt: number | undefined;
  #intervalMs: number;
  #loop: Promise<void> | undefined;

  /** `intervalMs` is the longest pause between two looks; a short policy makes it shorter. */
  constructor(options: {
    hosts: HostRegistry;
    lostVms: LostVms;
    logger: Logger;
    clock?: Clock;
    intervalMs?: number;
    counting?: Counting;
  }) {
    this.#hosts = options.hosts;
    this.#lostVms = options.lostVms;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#intervalMaxMs = options.intervalMs ?? INTERVAL_MS;
    this.#intervalMs = this.#intervalMaxMs;
    this.#counting = options.counting ?? NO_COUNTING;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop;
  }

  /** One look, and what follows from it. Throws when Redis cannot be reached; then silence counts anew. */
  async round(): Promise<void> {
    try {
      await this.#look();
    } catch (error) {
      this.#countAnew();
      throw error;
    }
  }

  async #look(): Promise<void> {
    const beganAt = this.#clock.monotonicMs();
    const [known, held] = await Promise.all([this.#hosts.hosts(), this.#lostVms.held()]);
    const endedAt = this.#clock.monotonicMs();
    const gapMs = this.#intervalMs * GAP_MAX_INTERVALS;
    if (endedAt - beganAt > gapMs || (this.#lookedAt !== undefined && endedAt - this.#lookedAt > gapMs))
      this.#countAnew();
    this.#lookedAt = endedAt;
    this.#intervalMs = this.#intervalFor(known);

    const hosts = new Map(known.map((host) => [host.hostId, host]));
    const owners = byOwner(held);
    for (const owner of this.#seenAt.keys()) if (!owners.has(owner)) this.#seenAt.delete(owner);
    for (const [owner, vms] of owners) {
      const [first] = vms;
      const host = first && hosts.get(first.hostId);
      const isAlive = host?.lease !== undefined && (first?.stateId === "" || host.lease.stateId === first?.stateId);
      // The later end of the look for what is alive, the earlier one for how long it has not been: never too soon.
      const seenAt = this.#seenAt.get(owner);
      if (seenAt === undefined) this.#seenAt.set(owner, endedAt);
      else if (isAlive) this.#seenAt.set(owner, Math.max(seenAt, endedAt - sinceRenewalMs(host)));
      const silentMs = beganAt - (this.#seenAt.get(owner) ?? endedAt);
      if (!isAlive && host !== undefined && mayBeReaped(host, silentMs)) await this.#reap(host, vms, silentMs);
    }
    for (const host of known)
      if (isLongGone(host) && !held.some(({ hostId }) => hostId === host.hostId)) await this.#forget(host);
  }

  async #forget(host: KnownHost): Promise<void> {
    if (await this.#hosts.removeGone(host, HOST_GONE_KEPT_MS))
      this.#logger.info({ host: host.hostId }, "a host that left without a VM long ago is forgotten");
  }

  async #reap(host: KnownHost, vms: readonly HeldVm[], silentMs: number): Promise<void> {
    const { hostId, description } = host;
    const cause = {
      code: "host_lost",
      message: `host ${hostId} has not been heard of for ${Math.round(silentMs / 1000)} s`,
    } as const;
    const counts = new Map<TakeBackOutcome, number>();
    for (const vm of await this.#lostVms.look(vms)) {
      if (this.#stopping.signal.aborted) return;
      // Only what that very worker has promised is a proof: it ends its VMs before others may launch them.
      const endProved = description?.stateId === vm.stateId && description.policy?.onPartition === "stop";
      const outcome = await this.#lostVms.reap(vm, { cause, endProved });
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    for (const untouched of ["marked", "changed", "no_record", "alive", "away"] as const) counts.delete(untouched);
    if (counts.size === 0) return;
    for (const [outcome, count] of counts) this.#counting.count("drover_reaped_vms_total", { outcome }, count);
    const vmCount = [...counts.values()].reduce((sum, count) => sum + count, 0);
    this.#logger.warn(
      { host: hostId, silentMs, vms: vmCount, outcomes: Object.fromEntries(counts) },
      "a host is lost: its VMs were taken back",
    );
  }

  #intervalFor(hosts: readonly KnownHost[]): number {
    const waits = hosts.flatMap(({ description }) =>
      description?.policy?.lost === "rerun" ? [description.policy.lostAfterMs / LOOKS_PER_SILENCE] : [],
    );
    return Math.min(this.#intervalMaxMs, ...waits);
  }

  #countAnew(): void {
    this.#seenAt.clear();
    this.#lookedAt = undefined;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      // Jitter, so that many reapers do not do the same at the same moment.
      await this.#clock.pause(this.#intervalMs * (0.75 + Math.random() / 2), signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.round().catch((error: unknown) =>
        this.#logger.debug({ err: error }, "looking for lost hosts failed; silence counts anew"),
      );
    }
  }
}

function byOwner(held: readonly HeldVm[]): ReadonlyMap<string, readonly HeldVm[]> {
  const owners = new Map<string, HeldVm[]>();
  for (const vm of held) {
    const owner = `${vm.hostId}:${vm.stateId}`;
    const vms = owners.get(owner);
    if (vms === undefined) owners.set(owner, [vm]);
    else vms.push(vm);
  }
  return owners;
}

/** A lease outlives its host: silence counts from when it was renewed, not from when it lapsed. */
function sinceRenewalMs({ description, lease }: KnownHost): number {
  return Math.max(0, (description?.leaseMs ?? 0) - (lease?.leftMs ?? 0));
}

/** What an operator wants of a host is not forgotten: it would come back open. */
function isLongGone({ lease, leftAtMs, wish, nowMs }: KnownHost): boolean {
  return lease === undefined && leftAtMs !== undefined && isWantedOpen(wish) && nowMs - leftAtMs >= HOST_GONE_KEPT_MS;
}

/** By the lost host's own word; without one only an operator may touch its VMs. */
function mayBeReaped({ description, awayUntilMs = 0, nowMs }: KnownHost, silentMs: number): boolean {
  const policy = description?.policy;
  if (policy === undefined || policy.lost === "hold") return false;
  return silentMs >= policy.lostAfterMs && awayUntilMs <= nowMs;
}
