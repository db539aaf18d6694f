import { openRedis, type RedisClient } from "../queue/connection.ts";
import { untilReady } from "../queue/redis-health.ts";
import { type RedisKeys, redisKeys } from "../queue/redis-keys.ts";
import { createLogger } from "../runtime/logger.ts";
import { CliError } from "./cli-error.ts";
import { EXIT } from "./exit-codes.ts";
import { withPrivateRedis } from "./private-redis.ts";
import { configFrom } from "./server-setup.ts";
import type { CliContext } from "./terminal.ts";

const CONNECT_MS = 3_000;
const COMMAND_MS = 10_000;

/** Calls `use` with a connection to the configured Redis, else that of `drover up`. The connection ends with it. */
export async function askRedis<T>(
  context: CliContext,
  use: (redis: RedisClient, keys: RedisKeys) => Promise<T>,
): Promise<T> {
  const config = await withPrivateRedis(configFrom(context), context);
  const logger = createLogger({ level: "error", name: "cli", destination: { write: () => undefined } }); // all is told
  const redis = openRedis({
    ...config.redis,
    role: "api",
    name: "drover-cli",
    commandTimeoutMs: COMMAND_MS,
    logger,
  });
  try {
    const unreachable = await untilReady(redis, CONNECT_MS);
    if (unreachable !== undefined) {
      throw new CliError(`Redis cannot be asked: ${unreachable}`, {
        code: "redis_unavailable",
        exitCode: EXIT.unreachable,
        hint: "Check DROVER_REDIS_URL, and that the server runs.",
      });
    }
    return await use(redis, redisKeys(config.redis.prefix));
  } finally {
    redis.disconnect();
  }
}
