import { randomUUID } from "node:crypto";
import { Queue } from "bullmq";
import type { VmSpec } from "../../src/contract/vm-request.ts";
import { openRedis, type RedisClient } from "../../src/queue/connection.ts";
import { poolQueueName, type RedisKeys, redisKeys } from "../../src/queue/redis-keys.ts";
import { VmQueue } from "../../src/queue/vm-queue.ts";
import { VmStore } from "../../src/queue/vm-store.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { createLogger } from "../../src/runtime/logger.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";

const POOL = "default";
const AT_ONCE = 64;
const LOOK_MS = 20;

/** The queue of the fleet as the benchmark sees it: it is filled while it is paused, so that filling is not measured. */
export class FleetQueue {
  readonly #redis: RedisClient;
  readonly #keys: RedisKeys;
  readonly #store: VmStore;
  readonly #vmQueue: VmQueue;
  readonly #bull: Queue;

  constructor(env: Readonly<Record<string, string>>) {
    const { config } = loadConfig({ ...process.env, ...env });
    const logger = createLogger({ level: "warn", name: "bench" });
    this.#keys = redisKeys(config.redis.prefix);
    this.#redis = openRedis({ ...config.redis, role: "worker", name: "bench", logger });
    const parts = { redis: this.#redis, keys: this.#keys };
    this.#store = new VmStore({ ...parts, eventsMax: config.eventsMax, keep: config.keep });
    this.#vmQueue = new VmQueue({ ...parts, logger });
    this.#bull = new Queue(poolQueueName(POOL), { connection: this.#redis, prefix: this.#keys.prefix });
  }

  /** Accepts so many VMs, none of which is fetched before `release`. */
  async fill(count: number, spec: VmSpec = {}): Promise<string[]> {
    await this.#bull.pause();
    const vmIds = Array.from({ length: count }, () => randomUUID());
    const rest = [...vmIds];
    const one = async () => {
      for (let vmId = rest.pop(); vmId !== undefined; vmId = rest.pop()) await this.#submit(vmId, spec);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    return vmIds;
  }

  /** Lets the hosts fetch. */
  async release(): Promise<void> {
    await this.#bull.resume();
  }

  /** How long it took from now until so many VMs were in a state (ms). */
  async until(state: "running" | "completed", count: number, timeoutMs: number): Promise<number> {
    const begunMs = performance.now();
    await waitFor(() => this.#isThere(state, count), {
      timeoutMs,
      intervalMs: LOOK_MS,
      what: `${count} VMs to be ${state}`,
      fatal: (error) => error instanceof VmFailed,
    });
    return performance.now() - begunMs;
  }

  async close(): Promise<void> {
    await this.#bull.close();
    await this.#vmQueue.close();
    this.#redis.disconnect();
  }

  /** Throws with the cause of the first VM that failed: a benchmark of failing VMs measures nothing. */
  async #isThere(state: "running" | "completed", count: number): Promise<boolean> {
    const [failed] = await this.#redis.zrange(`${this.#keys.statePrefix}failed`, "0", "0");
    if (failed !== undefined) throw new VmFailed(JSON.stringify((await this.#store.get(failed))?.cause));
    return (await this.#redis.zcard(`${this.#keys.statePrefix}${state}`)) >= count;
  }

  async #submit(vmId: string, spec: VmSpec): Promise<void> {
    const { record } = await this.#store.accept({
      vmId,
      owner: "bench",
      digest: vmId,
      spec,
      sealedSecrets: undefined,
      pool: POOL,
      priority: "normal",
      attempts: 1,
      queueTimeoutMs: undefined,
      idempotencyKey: undefined,
    });
    if (record !== undefined) await this.#vmQueue.enqueue(record);
  }
}

class VmFailed extends Error {}
