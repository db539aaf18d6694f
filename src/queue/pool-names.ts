import { isBespoke } from "../contract/placement.ts";
import { PRIORITY_CLASSES } from "../contract/vm-request.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

const retireScript = loadScript("retire-pool-15");

/** Hosts that were told of a queue look at it for longer than this, so that nobody need tell them again. */
const TELL_EVERY_MS = 10_000;
/** A bell that nobody hears: its host is gone. */
const BELL_KEPT_MS = 60_000;
/** More than anybody uses at a time; a queue that was forgotten here is told of once more. */
const TOLD_MAX = 1_000;

/** Which queues there are, and how hosts hear of those that come. */
export class PoolNames {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  /** When hosts were last told of a pool, by this process's clock. */
  readonly #toldAtMs = new Map<string, number>();

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async all(): Promise<readonly string[]> {
    return this.#redis.smembers(this.#keys.pools);
  }

  /** Those of the pools in which a VM waits, or will be due. */
  async busy(pools: readonly string[]): Promise<readonly string[]> {
    const pipeline = this.#redis.pipeline();
    for (const pool of pools) pipeline.exists(this.#part(pool, "prioritized"), this.#part(pool, "delayed"));
    const replies = (await pipeline.exec()) ?? [];
    return pools.filter((_, index) => {
      const [error, count] = replies[index] ?? [null, 0];
      if (error !== null) throw error;
      return count !== 0;
    });
  }

  /**
   * Tells the live hosts of a queue that they may not look at yet, once the pool stands among all: they look at once
   * which it is. For queues that every host looks at from its start on, and for those just told of, nothing is done.
   */
  async tell(pool: string): Promise<void> {
    const nowMs = performance.now();
    if (!isBespoke(pool) || nowMs - (this.#toldAtMs.get(pool) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return;
    if (this.#toldAtMs.size >= TOLD_MAX) this.#toldAtMs.clear();
    this.#toldAtMs.set(pool, nowMs);
    const hostIds = await this.#redis.smembers(this.#keys.hosts);
    if (hostIds.length === 0) return;
    const leases = await this.#redis.mget(hostIds.map((hostId) => this.#keys.lease(hostId)));
    const pipeline = this.#redis.pipeline();
    for (const [index, hostId] of hostIds.entries()) {
      if (leases[index] == null) continue;
      pipeline.zadd(this.#keys.bell(hostId), 0, "0").pexpire(this.#keys.bell(hostId), BELL_KEPT_MS);
    }
    await pipeline.exec();
  }

  /** RETIRE of a pool with a memory class or labels, if nothing is left in its queue; the next VM brings it back. */
  async retire(pool: string): Promise<boolean> {
    if (!isBespoke(pool)) return false;
    const keys = this.#keys;
    const lists = ["wait", "active", "paused", "prioritized", "delayed", "completed", "failed"] as const;
    const rest = ["meta", "id", "pc", "marker", "events"] as const;
    const reply = await retireScript.run(
      this.#redis,
      [
        keys.pools,
        keys.pendingJobs,
        ...lists.map((part) => this.#part(pool, part)),
        ...rest.map((part) => this.#part(pool, part)),
        keys.fairness(pool),
      ],
      { pool, classes: PRIORITY_CLASSES.length },
    );
    return reply === 1;
  }

  #part(pool: string, part: string): string {
    return this.#keys.bull(poolQueueName(pool), part);
  }
}
