import { type Job, Queue } from "bullmq";
import type { Logger } from "pino";
import { RemoveJobData, type VmJobData } from "../contract/job-data.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { FINAL_STATES } from "../contract/vm-state.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import { PRIORITY_SCALE } from "./priority-scale.ts";
import { poolQueueName, type RedisKeys, removeQueueName } from "./redis-keys.ts";

const jobAddedScript = loadScript("job-added-5");

/** Backoff times are drover's own and come with the error (see `JobClaims.fail`), so that a crash cannot change them. */
export const BACKOFF_TYPE = "drover";

export interface VmQueueOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly logger: Logger;
}

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

  constructor(options: VmQueueOptions) {
    this.#options = options;
  }

  /** Puts the job of an accepted VM into its pool. Idempotent: BullMQ keeps the first job of an id. */
  async enqueue(record: VmRecord): Promise<void> {
    const data: VmJobData = { v: 1, vmId: record.vmId, owner: record.owner, pool: record.pool, spec: record.spec };
    await this.#queue(poolQueueName(record.pool)).add(record.spec.name ?? "vm", data, jobOptions(record));
    const { redis, keys } = this.#options;
    const { vmId, pool } = record;
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

  /** How many VMs of a pool wait. */
  async waiting(pool: string): Promise<number> {
    const { redis, keys } = this.#options;
    return redis.zcard(keys.bull(poolQueueName(pool), "prioritized"));
  }

  /** Looks for pools and hosts that appeared elsewhere, so that the dashboard shows them. */
  async discover(): Promise<void> {
    const { redis, keys } = this.#options;
    const [pools, hosts] = await Promise.all([redis.smembers(keys.pools), redis.smembers(keys.hosts)]);
    for (const name of [...pools.map(poolQueueName), ...hosts.map(removeQueueName)]) this.#queue(name);
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

  #queue(name: string): Queue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const { redis, keys, logger } = this.#options;
    const queue = new Queue(name, { connection: redis, prefix: keys.prefix, skipVersionCheck: true });
    queue.on("error", (error) => logger.debug({ err: error, queue: name }, "BullMQ queue error"));
    this.#queues.set(name, queue);
    for (const listener of this.#onChanged) listener();
    return queue;
  }
}
