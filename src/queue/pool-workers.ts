import { Worker } from "bullmq";
import type { Logger } from "pino";
import type { RedisClient } from "./connection.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";
import { BACKOFF_TYPE } from "./vm-queue.ts";

/** So many are kept whatever they are for: all that most hosts ever need. */
const KEPT = 64;
/** Nothing that was begun with a Worker takes longer. */
const IDLE_MS = 10 * 60_000;

export interface PoolWorkersOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly hostId: string;
  readonly logger: Logger;
  readonly lockMs: number;
  /** How long the next attempt of a job waits that was settled with this error. */
  readonly backoffMs: (error: Error | undefined) => number;
  /** Whether a job of this pool is to be settled yet. */
  readonly isInUse: (pool: string) => boolean;
}

/** One processor-less Worker per pool, made when it is needed; those of queues that nobody uses any more go again. */
export class PoolWorkers {
  readonly #options: PoolWorkersOptions;
  /** In the order of their last use. */
  readonly #workers = new Map<string, { readonly worker: Worker; readonly usedAtMs: number }>();

  constructor(options: PoolWorkersOptions) {
    this.#options = options;
  }

  get pools(): readonly string[] {
    return [...this.#workers.keys()];
  }

  of(pool: string): Worker {
    const worker = this.#workers.get(pool)?.worker ?? this.#make(pool);
    this.#workers.delete(pool);
    this.#workers.set(pool, { worker, usedAtMs: performance.now() });
    return worker;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#workers.values()].map(({ worker }) => worker.close(true)));
  }

  #make(pool: string): Worker {
    this.#closeIdle();
    const { redis, keys, hostId, logger, lockMs, backoffMs } = this.#options;
    const worker = new Worker(poolQueueName(pool), null, {
      connection: redis,
      prefix: keys.prefix,
      name: hostId,
      autorun: false,
      skipStalledCheck: true,
      skipVersionCheck: true,
      lockDuration: lockMs,
      settings: { backoffStrategy: (_made, type, error) => (type === BACKOFF_TYPE ? backoffMs(error) : 0) },
    });
    worker.on("error", (error) => logger.debug({ err: error, pool }, "BullMQ worker error"));
    return worker;
  }

  #closeIdle(): void {
    const { isInUse, logger } = this.#options;
    const nowMs = performance.now();
    for (const [pool, { worker, usedAtMs }] of this.#workers) {
      if (this.#workers.size < KEPT || nowMs - usedAtMs < IDLE_MS) return;
      if (isInUse(pool)) continue;
      this.#workers.delete(pool);
      worker.close(true).catch((error) => logger.debug({ err: error, pool }, "a BullMQ worker did not close"));
    }
  }
}
