import type { RedisClient } from "./connection.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

/** Redis cannot be asked to wait less than this without spinning. */
const MIN_WAIT_S = 0.01;
/** BullMQ's member for "a job becomes due" (includes/addDelayMarkerIfNeeded.lua); "0" stands for work that is there. */
const DELAY_MARKER = "1";

/**
 * Waits for work in any of several pools with one BZPOPMIN over BullMQ's markers. Two Workers that block in
 * `getNextJob` with one free slot would both get a job; one wait and then a fetch cannot. A fetch re-arms the marker.
 */
export class PoolWaiter {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #bell: string;

  /** `redis` must be a connection of this waiter alone. */
  constructor({ redis, keys, hostId }: { redis: RedisClient; keys: RedisKeys; hostId: string }) {
    this.#redis = redis;
    this.#keys = keys;
    this.#bell = keys.bell(hostId);
  }

  /**
   * `work`: a pool may have work now; `delayed`: a job was put back for later; `bell`: a queue has come that this host
   * may not look at yet (see `PoolNames`); `nothing`: no sign in `timeoutMs`. A sign of a pool is taken by one waiter of
   * all hosts.
   */
  async wait(pools: readonly string[], timeoutMs: number): Promise<"work" | "delayed" | "bell" | "nothing"> {
    const markers = pools.map((pool) => this.#keys.bull(poolQueueName(pool), "marker"));
    const popped = await this.#redis.bzpopmin(this.#bell, ...markers, Math.max(timeoutMs / 1_000, MIN_WAIT_S));
    if (popped === null) return "nothing";
    if (popped[0] === this.#bell) return "bell";
    return popped[1] === DELAY_MARKER ? "delayed" : "work";
  }

  /** Ends a wait that is under way. */
  stop(): void {
    this.#redis.disconnect();
  }
}
