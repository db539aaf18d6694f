import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { inject } from "vitest";
import { openRedis, type RedisClient } from "../../src/queue/connection.ts";
import { type RedisKeys, redisKeys } from "../../src/queue/redis-keys.ts";

export interface RedisWorld extends AsyncDisposable {
  readonly redis: RedisClient;
  readonly keys: RedisKeys;
  readonly url: string;
}

/** `await using world = openRedisWorld()`: a connection and a key prefix of its own, emptied at the end of the test. */
export function openRedisWorld(): RedisWorld {
  const url = inject("redisUrl");
  const keys = redisKeys(`{test-${randomUUID()}}`);
  const redis = openRedis({ url, role: "worker", name: "test", logger: pino({ level: "silent" }) });
  return {
    redis,
    keys,
    url,
    async [Symbol.asyncDispose]() {
      const found = await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`);
      if (found.length > 0) await redis.del(found);
      redis.disconnect();
    },
  };
}
