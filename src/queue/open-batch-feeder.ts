import type { Logger } from "pino";
import type { Config } from "../runtime/config-shape.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import type { Tracer } from "../runtime/tracing/tracer.ts";
import { BatchFeeder } from "./batch-feeder.ts";
import { BatchFeeding } from "./batch-feeding.ts";
import { BatchUpkeep } from "./batch-upkeep.ts";
import type { RedisClient } from "./connection.ts";
import type { RedisKeys } from "./redis-keys.ts";
import type { VmQueue } from "./vm-queue.ts";
import type { VmStore } from "./vm-store.ts";

/** Ends tell of most that is to do: a look at all batches, in every process of a fleet, is for what a dead feeder left. */
const SWEEPS_PER_ROUND = 3;

export interface OpenBatchFeederOptions {
  readonly config: Pick<Config, "batches" | "keep" | "sweepMs">;
  readonly redis: RedisClient;
  /** A connection of the feeder alone, of role `blocking`. */
  readonly blocking: RedisClient;
  readonly keys: RedisKeys;
  readonly store: VmStore;
  readonly queue: VmQueue;
  readonly keyRing: KeyRing;
  readonly tracer: Tracer;
  readonly logger: Logger;
}

/** A feeder of batches with all that it works with; `start` it. */
export function openBatchFeeder(options: OpenBatchFeederOptions): BatchFeeder {
  const { config, redis, keys, keyRing, logger } = options;
  const feeding = new BatchFeeding({ ...options, windowItems: config.batches.windowItems });
  const upkeep = new BatchUpkeep({ redis, keys, feeding, logger, keep: config.keep, keepMs: config.batches.keepMs });
  const roundMs = SWEEPS_PER_ROUND * config.sweepMs;
  return new BatchFeeder({ redis: options.blocking, keys, feeding, upkeep, keyRing, logger, roundMs });
}
