import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { KeyRing } from "../runtime/key-ring.ts";
import type { BatchFeeding, StepOutcome } from "./batch-feeding.ts";
import type { BatchUpkeep } from "./batch-upkeep.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** Redis answers a wait for work after this time at the latest; a key that came meanwhile counts from then on. */
const WAIT_S = 5;
const RETRY_MS = 250;
/** A feeder with the wrong key leaves a batch to another one for so long. */
const OTHERS_FIRST_MS = 500;
const STOP_MAX_MS = 500;

export interface BatchFeederOptions {
  /** A connection of this feeder alone: it blocks, and is closed with it. */
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly feeding: BatchFeeding;
  readonly upkeep: BatchUpkeep;
  readonly keyRing: KeyRing;
  readonly logger: Logger;
  /** How often it looks at all batches, whatever it was told. */
  readonly roundMs: number;
}

/**
 * Keeps batches going, in every API and every worker: their owner has gone home, and the API may be down. It waits for
 * batches that have something to do, and does one step of one at a time, so that many batches take turns. Every step is
 * whole; what a feeder that died had in its hands is due again with the next round of any other.
 */
export class BatchFeeder {
  readonly #options: BatchFeederOptions;
  readonly #stopping = new AbortController();
  /** Batches of which something was said that keeps them from going on; said once, until they do. */
  readonly #stuck = new Set<string>();
  #loops: Promise<unknown> | undefined;

  constructor(options: BatchFeederOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loops ??= Promise.all([this.#feed(), this.#look()]);
  }

  /** Ends after the step that is under way, or without it when Redis does not answer. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#options.redis.disconnect();
    await Promise.race([this.#loops, delay(STOP_MAX_MS, undefined, { ref: false })]);
  }

  async #feed(): Promise<void> {
    const { signal } = this.#stopping;
    const { logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#next();
      } catch (error) {
        if (signal.aborted) return;
        logger.debug({ err: error }, "batches cannot be fed; trying again");
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined); // aborted: the loop ends
      }
    }
  }

  async #next(): Promise<void> {
    const { redis, keys, keyRing, upkeep } = this.#options;
    const queues = keyRing.current === undefined ? [keys.dueBatches] : [keys.dueBatches, keys.dueSealedBatches];
    const popped = await redis.bzpopmin(...queues, WAIT_S);
    if (popped === null) return;
    const [, batchId] = popped;
    const outcome = await this.#step(batchId);
    if (outcome === "done") return;
    if (outcome === "no_key")
      await delay(OTHERS_FIRST_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    await upkeep.makeDue(batchId);
  }

  async #step(batchId: string): Promise<StepOutcome> {
    try {
      const outcome = await this.#options.feeding.step(batchId);
      if (outcome === "no_key")
        this.#sayOnce(
          batchId,
          {},
          "the shared secrets of a batch were sealed with a key that is not here; others feed it",
        );
      // A batch without a free place is done whoever has its key.
      if (outcome === "more") this.#stuck.delete(batchId);
      return outcome;
    } catch (error) {
      this.#sayOnce(batchId, { err: error }, "a step of a batch failed; it is due again with the next round");
      return "done";
    }
  }

  #sayOnce(batchId: string, fields: object, message: string): void {
    if (!this.#stuck.has(batchId) && !this.#stopping.signal.aborted)
      this.#options.logger.warn({ batchId, ...fields }, message);
    this.#stuck.add(batchId);
  }

  async #look(): Promise<void> {
    const { signal } = this.#stopping;
    const { upkeep, logger, roundMs } = this.#options;
    while (!signal.aborted) {
      // Jitter, so that many feeders do not look at the same moment.
      await delay(roundMs * (0.75 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await upkeep
        .round()
        .catch((error) => logger.debug({ err: error }, "a look at all batches failed; the next one does it"));
    }
  }
}
