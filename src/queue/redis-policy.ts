import { DroverError } from "../contract/errors.ts";
import type { RedisClient } from "./connection.ts";

/**
 * A Redis that may evict keys loses VMs silently. Throws `config_invalid` with the command that mends it; gives
 * warnings for what is dangerous and legal. Read from INFO, which needs no administrator's rights.
 */
export async function checkRedisPolicy(redis: RedisClient): Promise<readonly string[]> {
  const info = `${await redis.info("memory")}\n${await redis.info("persistence")}`;
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  const policy = field("maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction") {
    throw new DroverError(
      "config_invalid",
      `Redis runs with maxmemory-policy ${policy}: it may drop VMs when memory is short. ` +
        "Mend it with: redis-cli CONFIG SET maxmemory-policy noeviction (and set it in redis.conf)",
    );
  }
  if (field("aof_enabled") === "1") return [];
  return [
    "Redis writes no append-only file: what was accepted since its last snapshot is lost when it ends. " +
      "Mend it with: redis-cli CONFIG SET appendonly yes (and set it in redis.conf)",
  ];
}
