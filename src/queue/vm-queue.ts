import { type Job, Queue } from "bullmq";
import type { Logger } from "pino";
import { HEED_JOB, HeedJobData, RemoveJobData, type VmJobData } from "../contract/job-data.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { FINAL_STATES } from "../contract/vm-state.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import { PoolNames } from "./pool-names.ts";
import { PRIORITY_SCALE } from "./priority-scale.ts";
import { type QueuePlace, readPlaces } from "./queue-place.ts";
import { poolQueueName, type RedisKeys, removeQueueName } from "./redis-keys.ts";

const jobAddedScript = loadScript("job-added-5");

/** Backoff times are drover's own and come with the error (see `JobClaims.fail`), so that a crash cannot change them. */
export const BACKOFF_TYPE = "drover";

export interface VmQueueOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly logger: Logger;
}

/** What a job says of its VM. */
export type QueuedVm = Pick<VmRecord, "vmId" | "owner" | "pool" | "spec" | "jobPriority" | "attempts">;

/** The options of a VM's job, here and wherever a lost job is made again. */
export function jobOptions({ vmId, jobPriority, attempts }: Pick<VmRecord, "vmId" | "jobPriority" | "attempts">) {
  return {
    jobId: vmId,
    priority: jobPriority,
    attempts,
    backoff: { type: BACKOFF_TYPE },
    removeOnComplete: false, // retention is drover's own: job, record, box and logs go together
    removeOnFail: false,
  };
}

/** The producers' side of BullMQ: one queue per pool for VMs, one per host for removals. */
export class VmQueue {
  readonly #options: VmQueueOptions;
  readonly #queues = new Map<string, Queue>();
  readonly #onChanged = new Set<() => void>();
  readonly #poolNames: PoolNames;

  constructor(options: VmQueueOptions) {
    this.#options = options;
    this.#poolNames = new PoolNames(options);
  }

  /** Puts the job of an accepted VM into its pool. Idempotent: BullMQ keeps the first job of an id. */
  async enqueue(vm: QueuedVm): Promise<void> {
    const { name, data, opts } = toJob(vm);
    await this.#queue(poolQueueName(vm.pool)).add(name, data, opts);
    await this.#jobAdded(vm);
    await this.#tellHosts(vm.pool);
  }

  /** The same for several VMs at once. */
  async enqueueAll(vms: readonly QueuedVm[]): Promise<void> {
    for (const pool of new Set(vms.map((vm) => vm.pool))) {
      const ofPool = vms.filter((vm) => vm.pool === pool);
      await this.#queue(poolQueueName(pool)).addBulk(ofPool.map(toJob));
      await Promise.all(ofPool.map((vm) => this.#jobAdded(vm)));
      await this.#tellHosts(pool);
    }
  }

  /** Tells a host to look at the removal mark of one of its VMs. A lost job costs at most one reconcile period. */
  async notifyRemoval(hostId: string, vmId: string): Promise<void> {
    const data: RemoveJobData = RemoveJobData.parse({ v: 1, vmId });
    await this.#queue(removeQueueName(hostId)).add("remove", data, {
      jobId: `remove-${vmId}`,
      removeOnComplete: true, // the mark is the record of a removal; the job only wakes the host
      removeOnFail: 100,
      attempts: 3,
      backoff: { type: "fixed", delay: 1_000 },
    });
  }

  /** Tells a host to look at what an operator wants of it. A lost job costs at most one renewal of the lease. */
  async notifyWish(hostId: string): Promise<void> {
    const data: HeedJobData = HeedJobData.parse({ v: 1 });
    await this.#queue(removeQueueName(hostId)).add(HEED_JOB, data, {
      removeOnComplete: true,
      removeOnFail: true, // a worker of an earlier version does not know it
    });
  }

  /** Whether BullMQ holds a job of this VM, in whatever state. */
  async hasJob(record: Pick<VmRecord, "vmId" | "pool">): Promise<boolean> {
    const job: Job | undefined = await this.#queue(poolQueueName(record.pool)).getJob(record.vmId);
    return job !== undefined;
  }

  /** How many VMs of its pool stand before one that waits for its first launch or its next; undefined: it is not waiting. */
  async position({ vmId, pool }: Pick<VmRecord, "vmId" | "pool">): Promise<number | undefined> {
    const { redis, keys } = this.#options;
    const rank = await redis.zrank(keys.bull(poolQueueName(pool), "prioritized"), vmId);
    return typeof rank === "number" ? rank : undefined;
  }

  /** Where the jobs of VMs that wait stand, in the order asked. */
  async places(vms: readonly Pick<VmRecord, "vmId" | "pool">[]): Promise<readonly QueuePlace[]> {
    return readPlaces(this.#options, vms);
  }

  /** How many VMs of a pool wait. */
  async waiting(pool: string): Promise<number> {
    const { redis, keys } = this.#options;
    return redis.zcard(keys.bull(poolQueueName(pool), "prioritized"));
  }

  /** Looks for pools and hosts that appeared elsewhere, or are no more, so that the dashboard shows what is there. */
  async discover(): Promise<void> {
    const { redis, keys } = this.#options;
    const [pools, hosts] = await Promise.all([redis.smembers(keys.pools), redis.smembers(keys.hosts)]);
    const names = new Set([...pools.map(poolQueueName), ...hosts.map(removeQueueName)]);
    const come = [...names].filter((name) => !this.#queues.has(name));
    const gone = [...this.#queues].filter(([name]) => !names.has(name));
    if (come.length + gone.length === 0) return;
    for (const name of come) this.#open(name);
    for (const [name] of gone) this.#queues.delete(name);
    for (const listener of this.#onChanged) listener();
    await Promise.all(gone.map(([, queue]) => queue.close())); // the connection stays open: it is ours
  }

  /** The queues for Bull Board. */
  boardQueues(): readonly Queue[] {
    return [...this.#queues.values()];
  }

  /** `listener` is called when `boardQueues` has changed. */
  onQueuesChanged(listener: () => void): void {
    this.#onChanged.add(listener);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  async #jobAdded({ vmId, pool }: QueuedVm): Promise<void> {
    const { redis, keys } = this.#options;
    const queue = poolQueueName(pool);
    await jobAddedScript.run(
      redis,
      [
        keys.record(vmId),
        keys.pendingJobs, // the sweeper need not look any more
        keys.bull(queue, "prioritized"),
        keys.fairness(pool),
        keys.bull(queue, vmId),
      ],
      { vmId, final: FINAL_STATES, ...PRIORITY_SCALE },
    );
  }

  /** Of a pool that they may not look at yet; without a word they find it within seconds, so that this never throws. */
  async #tellHosts(pool: string): Promise<void> {
    await this.#poolNames
      .tell(pool)
      .catch((error) => this.#options.logger.debug({ err: error, pool }, "the hosts were not told of a queue"));
  }

  #queue(name: string): Queue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const queue = this.#open(name);
    for (const listener of this.#onChanged) listener();
    return queue;
  }

  #open(name: string): Queue {
    const { redis, keys, logger } = this.#options;
    const queue = new Queue(name, { connection: redis, prefix: keys.prefix, skipVersionCheck: true });
    queue.on("error", (error) => logger.debug({ err: error, queue: name }, "BullMQ queue error"));
    this.#queues.set(name, queue);
    return queue;
  }
}

function toJob(vm: QueuedVm) {
  const { vmId, owner, pool, spec } = vm;
  const data: VmJobData = { v: 1, vmId, owner, pool, spec };
  return { name: spec.name ?? "vm", data, opts: jobOptions(vm) };
}
