import type { RedisClient } from "./connection.ts";
import { type RedisKeys, removeQueueName } from "./redis-keys.ts";

/** Where BullMQ keeps the ids of a queue's jobs, by the type of the key. */
const LISTS = ["wait", "active", "paused"] as const;
const SORTED_SETS = ["prioritized", "delayed", "completed", "failed"] as const;
const OTHERS = ["meta", "id", "pc", "marker", "events", "stalled", "stalled-check", "limiter"] as const;

/**
 * Deletes all that BullMQ keeps of a host's removal queue. Its own `obliterate` would pause the queue first, and leave it
 * so where it is cut off. A host that comes back meanwhile loses a wake-up at most: the marks are the truth.
 */
export async function deleteRemoveQueue(redis: RedisClient, keys: RedisKeys, hostId: string): Promise<void> {
  const key = (part: string) => keys.bull(removeQueueName(hostId), part);
  const jobIds = await Promise.all([
    ...LISTS.map((part) => redis.lrange(key(part), 0, -1)),
    ...SORTED_SETS.map((part) => redis.zrange(key(part), "0", "-1")),
  ]);
  const jobs = [...new Set(jobIds.flat())].flatMap((jobId) => [key(jobId), key(`${jobId}:lock`)]);
  const parts = [...LISTS, ...SORTED_SETS, ...OTHERS].map(key);
  for (const keysAtOnce of inParts([...jobs, ...parts])) await redis.del(...keysAtOnce);
}

const DELETED_AT_ONCE = 500;

function* inParts(all: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < all.length; at += DELETED_AT_ONCE) yield all.slice(at, at + DELETED_AT_ONCE);
}
