import { z } from "zod";
import type { Cause } from "../contract/causes.ts";
import { FORENSICS_KEPT, LAUNCHES_KEPT, POISON_CRASHES, POISON_WINDOW_MS } from "../contract/limits.ts";
import { askedPool } from "../contract/placement.ts";
import type { VmEventData } from "../contract/vm-event.ts";
import { FINAL_STATES, type VmState, WAITING_STATES } from "../contract/vm-state.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import { PRIORITY_SCALE } from "./priority-scale.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

const reapScript = loadScript("reap-20");
const forgetScript = loadScript("forget-vm-19");

const Outcome = z.enum([
  "alive",
  "away",
  "changed",
  "no_record",
  "marked",
  "settled",
  "returned",
  "queued",
  "failed",
  "removed",
  "expired",
]);

/**
 * What became of a VM whose owner is no more: `alive` and `away` it is not, `changed` somebody has moved it meanwhile,
 * `marked` it is kept until its end is proved, `settled` only its job was left, `returned` it had been fetched and never
 * prepared, `failed` it is poisoned; the others are its new state.
 */
export type TakeBackOutcome = z.infer<typeof Outcome>;

/** A VM whose job is active, and whose it is. */
export interface HeldVm {
  readonly vmId: string;
  readonly pool: string;
  readonly hostId: string;
  /** The worker's state directory; empty when nothing says it any more. */
  readonly stateId: string;
  readonly bootId: string;
  /** The lock as it was seen; empty when there was none. */
  readonly lock: string;
}

/** A held VM with the fetch that is looked at: a later one is none of the caller's business. */
export interface SeenVm extends HeldVm {
  readonly epoch: number;
}

/** States in which a worker's death may have been the VM's doing. */
const BOOTING_STATES: readonly VmState[] = ["preparing", "starting"];

const Token = /^([^:]*):([^:]*):([^:]*):/;

/** Finds the VMs that hosts hold, and takes them back from hosts that are no more: REAP and FORGET. */
export class LostVms {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #eventsMax: number;
  readonly #keep: Config["keep"];

  constructor(options: { redis: RedisClient; keys: RedisKeys; eventsMax: number; keep: Config["keep"] }) {
    this.#redis = options.redis;
    this.#keys = options.keys;
    this.#eventsMax = options.eventsMax;
    this.#keep = options.keep;
  }

  /** All VMs that hosts hold, by the active lists of all pools and the lock tokens of their jobs. */
  async held(): Promise<readonly HeldVm[]> {
    const pools = await this.#redis.smembers(this.#keys.pools);
    const perPool = await Promise.all(
      pools.map(async (pool) => {
        const vmIds = await this.#redis.lrange(this.#keys.bull(poolQueueName(pool), "active"), 0, -1);
        if (vmIds.length === 0) return [];
        const locks = await this.#redis.mget(vmIds.map((vmId) => this.#lockKey(pool, vmId)));
        return Promise.all(vmIds.map((vmId, index) => this.#ownerOf({ vmId, pool, lock: locks[index] ?? "" })));
      }),
    );
    return perPool.flat();
  }

  /** The number of each VM's fetch, for those that still are their host's by BullMQ's own word. */
  async look(vms: readonly HeldVm[]): Promise<readonly SeenVm[]> {
    const pipeline = this.#redis.pipeline();
    for (const { vmId, pool } of vms) pipeline.hmget(this.#keys.bull(poolQueueName(pool), vmId), "pb", "ats");
    const replies = (await pipeline.exec()) ?? [];
    return vms.flatMap((vm, index) => {
      const [error, fields] = replies[index] ?? [null, []];
      if (error !== null) throw error;
      const [host, epoch] = JobOwner.parse(fields);
      return host === vm.hostId ? [{ ...vm, epoch: Number(epoch ?? 0) }] : [];
    });
  }

  /**
   * REAP of one VM. `endProved`: its host has ended it by itself when it could not reach Redis, so that a VM whose
   * removal was asked for is gone.
   */
  async reap(vm: SeenVm, { cause, endProved }: { cause: Cause; endProved: boolean }): Promise<TakeBackOutcome> {
    const args = this.#args(vm, { cause, reason: "host_lost", endMarked: endProved, unverified: false });
    const keys = [...this.#takeBackKeys(vm), this.#keys.lease(vm.hostId), this.#keys.host(vm.hostId)];
    return Outcome.parse(await reapScript.run(this.#redis, keys, args));
  }

  /** FORGET of one VM: an operator vouches for the end of its host. */
  async forget(vm: SeenVm, { cause }: { cause: Cause }): Promise<TakeBackOutcome> {
    const args = this.#args(vm, { cause, reason: "host_forgotten", endMarked: true, unverified: true });
    const keys = [...this.#takeBackKeys(vm), this.#keys.lease(vm.hostId)];
    return Outcome.parse(await forgetScript.run(this.#redis, keys, args));
  }

  #args(
    { vmId, pool, hostId, stateId, epoch, lock }: SeenVm,
    how: { cause: Cause; reason: "host_lost" | "host_forgotten"; endMarked: boolean; unverified: boolean },
  ) {
    const { cause, reason } = how;
    const event: VmEventData<"vm.queued"> = { pool: askedPool(pool), reason, cause };
    return {
      ...how,
      vmId,
      host: hostId,
      stateId,
      ats: epoch,
      lock,
      waiting: WAITING_STATES,
      final: FINAL_STATES,
      booting: BOOTING_STATES,
      queuedEvent: JSON.stringify(event),
      poison: {
        crashes: POISON_CRASHES,
        windowMs: POISON_WINDOW_MS,
        cause: {
          code: "poisoned",
          message: `${POISON_CRASHES} workers died while they launched this VM, the last one on host ${hostId}`,
        },
      },
      ...PRIORITY_SCALE,
      launchesKept: LAUNCHES_KEPT,
      forensicsKept: FORENSICS_KEPT,
      keep: this.#keep,
      eventsMax: this.#eventsMax,
    };
  }

  #takeBackKeys({ vmId, pool, bootId }: HeldVm): readonly string[] {
    const keys = this.#keys;
    const queue = poolQueueName(pool);
    return [
      keys.record(vmId),
      keys.events,
      keys.statePrefix,
      keys.mark(vmId),
      keys.bull(queue, vmId),
      this.#lockKey(pool, vmId),
      keys.bull(queue, "active"),
      keys.bull(queue, "prioritized"),
      keys.bull(queue, "pc"),
      keys.bull(queue, "marker"),
      keys.bull(queue, "completed"),
      keys.bull(queue, "failed"),
      keys.deadlines,
      keys.expiry,
      keys.box(vmId),
      keys.console(vmId),
      keys.ports(bootId),
      keys.portsLru(bootId),
    ];
  }

  /** By the lock; a job that has lost it is its fetcher's still, and the record may know of which state directory. */
  async #ownerOf({ vmId, pool, lock }: { vmId: string; pool: string; lock: string }): Promise<HeldVm> {
    const [, hostId, stateId = "", bootId = ""] = Token.exec(lock) ?? [];
    if (hostId !== undefined) return { vmId, pool, lock, hostId, stateId, bootId };
    const [fetcher, [host, token]] = await Promise.all([
      this.#redis.hget(this.#keys.bull(poolQueueName(pool), vmId), "pb"),
      this.#redis.hmget(this.#keys.record(vmId), "host", "token"),
    ]);
    const [, , recordState = "", recordBoot = ""] = (host === fetcher && Token.exec(token ?? "")) || [];
    return { vmId, pool, lock, hostId: fetcher ?? "", stateId: recordState, bootId: recordBoot };
  }

  #lockKey(pool: string, vmId: string): string {
    return `${this.#keys.bull(poolQueueName(pool), vmId)}:lock`;
  }
}

const JobOwner = z.tuple([z.string().nullable(), z.string().nullable()]);
