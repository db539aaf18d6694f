import { z } from "zod";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** What a worker says of its host. */
export const HostDescription = z.object({
  v: z.literal(1),
  hostId: z.string(),
  stateId: z.string(),
  bootId: z.string(),
  pid: z.int(),
  version: z.string(),
  address: z.string(),
  pools: z.array(z.string()),
  slots: z.int(),
  ports: z.strictObject({ first: z.int(), last: z.int() }),
  tee: z.string(),
  accel: z.string(),
  startedAtMs: z.int(),
});
export type HostDescription = z.infer<typeof HostDescription>;

/** The hosts that have a worker. A lease that is renewed says which of them live. */
export class HostRegistry {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;

  constructor({ redis, keys }: { redis: RedisClient; keys: RedisKeys }) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async announce(host: HostDescription, leaseMs: number): Promise<void> {
    await this.#redis
      .multi()
      .sadd(this.#keys.hosts, host.hostId)
      .hset(this.#keys.host(host.hostId), "description", JSON.stringify(host))
      .set(this.#keys.lease(host.hostId), leaseText(host), "PX", leaseMs)
      .exec();
  }

  /** Gives the lease up at a wanted stop, so that the others need not wait for it to lapse. */
  async withdraw(host: HostDescription): Promise<void> {
    await this.#redis.del(this.#keys.lease(host.hostId));
  }

  /** Hosts with a lease that serve the pool. */
  async liveHosts(pool: string): Promise<readonly HostDescription[]> {
    const hostIds = await this.#redis.smembers(this.#keys.hosts);
    if (hostIds.length === 0) return [];
    const leases = await this.#redis.mget(hostIds.map((hostId) => this.#keys.lease(hostId)));
    const live = hostIds.filter((_hostId, index) => leases[index] != null);
    const texts = await Promise.all(live.map((hostId) => this.#redis.hget(this.#keys.host(hostId), "description")));
    return texts.flatMap((text) => {
      const host = HostDescription.safeParse(text === null ? undefined : JSON.parse(text));
      return host.success && host.data.pools.includes(pool) ? [host.data] : [];
    });
  }
}

function leaseText({ hostId, stateId, bootId }: HostDescription): string {
  return JSON.stringify({ hostId, stateId, bootId });
}
