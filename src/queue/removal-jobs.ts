import { type Job, Worker } from "bullmq";
import type { Logger } from "pino";
import { HEED_JOB, RemoveJobData } from "../contract/job-data.ts";
import type { RedisClient } from "./connection.ts";
import { type RedisKeys, removeQueueName } from "./redis-keys.ts";

const CONCURRENCY = 10;
/** A job takes milliseconds; one whose worker died is taken up by the next after this time. */
const LOCK_MS = 3_000;
const NEVER_TOO_OFTEN = 1_000;
/** BullMQ asks a Redis that refuses again at once, thousands of times a second; one that is away, after 15 s. */
const ERROR_REST_MS = 1_000;

/**
 * Hears the removals that are meant for this host, and that an operator wants something of it. The job only wakes it up:
 * what stands in Redis is the truth.
 */
export class RemovalJobs {
  readonly #worker: Worker;
  #resting: NodeJS.Timeout | undefined;

  constructor(options: {
    redis: RedisClient;
    keys: RedisKeys;
    hostId: string;
    logger: Logger;
    onRemoval: (vmId: string) => Promise<void>;
    onWish: () => void;
  }) {
    const { redis, keys, hostId, logger, onRemoval, onWish } = options;
    const hear = async (job: Job) => (job.name === HEED_JOB ? onWish() : onRemoval(RemoveJobData.parse(job.data).vmId));
    this.#worker = new Worker(removeQueueName(hostId), hear, {
      connection: redis,
      prefix: keys.prefix,
      name: hostId,
      concurrency: CONCURRENCY,
      lockDuration: LOCK_MS,
      stalledInterval: LOCK_MS,
      maxStalledCount: NEVER_TOO_OFTEN,
      runRetryDelay: ERROR_REST_MS,
      skipVersionCheck: true,
    });
    this.#worker.on("error", (error) => {
      logger.debug({ err: error }, "the removal queue cannot be read");
      this.#rest();
    });
  }

  #rest(): void {
    if (this.#resting !== undefined) return;
    void this.#worker.pause(true);
    this.#resting = setTimeout(() => {
      this.#resting = undefined;
      void this.#worker.resume();
    }, ERROR_REST_MS);
  }

  async close(): Promise<void> {
    clearTimeout(this.#resting);
    await this.#worker.close(true);
  }
}
