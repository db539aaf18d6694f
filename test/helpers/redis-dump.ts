import type { RedisClient } from "../../src/queue/connection.ts";
import type { RedisKeys } from "../../src/queue/redis-keys.ts";

/** What BullMQ notes of tries, also of those that changed nothing. */
const BOOKKEEPING = /:vm(-remove)?\.[^:]+:(events|id)$/;

/**
 * Everything below a prefix, in a form in which two worlds that went the same way are equal: times, ids that were drawn
 * and the prefix itself are blanked. `ids` are kept.
 */
export async function dumpRedis(
  redis: RedisClient,
  keys: RedisKeys,
  ids: readonly string[] = [],
): Promise<Record<string, unknown>> {
  const blank = (text: string) =>
    text
      .replaceAll(keys.prefix, "P")
      .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, (uuid) => (ids.includes(uuid) ? uuid : "<id>"))
      .replace(/\b\d{13}-\d+\b/g, "<stream id>")
      .replace(/\b\d{13,16}\b/g, "<time>");
  const dump: Record<string, unknown> = {};
  const names = await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}:*`);
  for (const name of names.sort()) {
    if (BOOKKEEPING.test(name)) continue;
    dump[name.slice(keys.prefix.length + 1)] = await readKey(redis, name, blank);
  }
  return dump;
}

async function readKey(redis: RedisClient, name: string, blank: (text: string) => string): Promise<unknown> {
  switch (await redis.type(name)) {
    case "string":
      return blank((await redis.get(name)) ?? "");
    case "hash":
      return Object.fromEntries(
        Object.entries(await redis.hgetall(name)).map(([field, value]) => [
          blank(field),
          // BullMQ counts a job's delay from the clock, so that it is a millisecond less once in a while.
          field === "delay" ? String(Math.round(Number(value) / 1_000) * 1_000) : blank(value),
        ]),
      );
    case "list":
      return (await redis.lrange(name, 0, -1)).map(blank);
    case "set":
      return (await redis.smembers(name)).sort();
    case "zset": {
      const flat = (await redis.zrange(name, "0", "-1", "WITHSCORES")).map(String);
      return name.endsWith(":prioritized") ? flat : flat.map(blank);
    }
    case "stream":
      return (await redis.xrange(name, "-", "+")).map(([, fields]) => fields.map(blank));
    default:
      return undefined;
  }
}
