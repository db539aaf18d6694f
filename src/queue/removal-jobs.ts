import { Worker } from "bullmq";
import type { Logger } from "pino";
import { RemoveJobData } from "../contract/job-data.ts";
import type { RedisClient } from "./connection.ts";
import { type RedisKeys, removeQueueName } from "./redis-keys.ts";

const CONCURRENCY = 10;

/** Hears the removals that are meant for this host. The job only wakes it up: the mark in Redis is the truth. */
export class RemovalJobs {
  readonly #worker: Worker;

  constructor(options: {
    redis: RedisClient;
    keys: RedisKeys;
    hostId: string;
    logger: Logger;
    onRemoval: (vmId: string) => Promise<void>;
  }) {
    const { redis, keys, hostId, logger, onRemoval } = options;
    this.#worker = new Worker(removeQueueName(hostId), (job) => onRemoval(RemoveJobData.parse(job.data).vmId), {
      connection: redis,
      prefix: keys.prefix,
      name: hostId,
      concurrency: CONCURRENCY,
      skipVersionCheck: true,
    });
    this.#worker.on("error", (error) => logger.debug({ err: error }, "the removal queue cannot be read"));
  }

  async close(): Promise<void> {
    await this.#worker.close(true);
  }
}
