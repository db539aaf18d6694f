import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { Logger } from "pino";
import { z } from "zod";
import type { Config } from "../runtime/config-shape.ts";
import type { BatchFeeding } from "./batch-feeding.ts";
import { readBatch } from "./batch-record.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const purgeScript = loadScript("batch-purge-5");

/** Ends that nobody has counted are found within this time: those of workers that know no batches. */
const RECOUNT_MS = 60_000;
const PURGE_MAX = 20;

export interface BatchUpkeepOptions {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly feeding: BatchFeeding;
  readonly logger: Logger;
  readonly keep: Pick<Config["keep"], "idempotencyMs">;
  /** How long a batch that has ended is kept. */
  readonly keepMs: number;
  readonly recountMs?: number;
}

/** What is looked at again and again: batches that a dead feeder had in its hands, ends that nobody counted, batches whose time is over. */
export class BatchUpkeep {
  readonly #options: BatchUpkeepOptions;
  readonly #recountMs: number;

  constructor(options: BatchUpkeepOptions) {
    this.#options = options;
    this.#recountMs = options.recountMs ?? RECOUNT_MS;
  }

  /** One round over all batches that have not ended. Throws when Redis cannot be reached; the next round does the rest. */
  async round(): Promise<void> {
    const { redis, keys } = this.#options;
    for (const batchId of await redis.smembers(keys.openBatches)) {
      await this.#look(batchId);
      await yieldToOthers();
    }
    await this.purge();
  }

  /** Says that a batch has something to do. */
  async makeDue(batchId: string): Promise<void> {
    const { redis, keys } = this.#options;
    const isSealed = (await redis.hexists(keys.batch(batchId), "shared")) === 1;
    await redis.zadd(isSealed ? keys.dueSealedBatches : keys.dueBatches, "NX", Date.now(), batchId);
  }

  /** Deletes batches whose time is over, some at a time; gives their number. */
  async purge(): Promise<number> {
    const { redis, keys, keep, keepMs } = this.#options;
    const due = await redis.zrangebyscore(keys.endedBatches, "-inf", Date.now() - keepMs, "LIMIT", 0, PURGE_MAX);
    let purged = 0;
    for (const batchId of due) {
      const owner = await redis.hget(keys.batch(batchId), "owner");
      const reply = await purgeScript.run(
        redis,
        [
          keys.batch(batchId),
          keys.batchTombstone(batchId),
          keys.batches,
          keys.ownedBatches(owner ?? ""),
          keys.endedBatches,
        ],
        { batchId, keepMs, tombstoneMs: keep.idempotencyMs },
      );
      purged += z.number().parse(reply);
    }
    return purged;
  }

  async #look(batchId: string): Promise<void> {
    const { redis, keys, feeding, logger } = this.#options;
    const key = keys.batch(batchId);
    const batch = readBatch(await redis.hgetall(key));
    if (batch === undefined || batch.state === "ended") return;
    const wantsFeeding = batch.state === "active" && batch.counts.listed > 0;
    const wantsRemoval = batch.state === "stopping" || batch.removing !== undefined;
    if (wantsFeeding || wantsRemoval) await this.makeDue(batchId);
    if (batch.live === 0 || Date.now() - (batch.recountedAtMs ?? batch.createdAtMs) < this.#recountMs) return;
    await redis.hset(key, "recountedAtMs", Date.now());
    const mended = await feeding.recount(batchId);
    if (mended > 0) logger.warn({ batchId, mended }, "ends of a batch's VMs had not been counted");
  }
}
