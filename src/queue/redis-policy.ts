import { DroverError } from "../contract/errors.ts";
import { masterServers, type RedisClient } from "./connection.ts";

/**
 * Scripts say in their first line what they may do when memory is short: without that, a full Redis could not be told
 * of the ends that free it. Older servers take such a line for an error.
 */
const OLDEST_MAJOR = 7;

/**
 * A Redis that may evict keys loses VMs silently, and one that is too old cannot run the scripts. Throws
 * `config_invalid` with what mends it; gives warnings for what is dangerous and legal. Read from INFO, which needs no
 * administrator's rights; on a cluster, of every master.
 */
export async function checkRedisPolicy(redis: RedisClient): Promise<readonly string[]> {
  const warnings = new Set<string>();
  for (const server of await masterServers(redis)) {
    const sections = await Promise.all(["server", "memory", "persistence"].map((name) => server.info(name))).catch(
      explainNoPermission,
    );
    for (const warning of checkServer(sections.join("\n"))) warnings.add(warning);
  }
  return [...warnings];
}

function explainNoPermission(error: unknown): never {
  if (!(error instanceof Error && error.message.startsWith("NOPERM "))) throw error;
  throw new DroverError(
    "config_invalid",
    "the user in DROVER_REDIS_URL may not ask Redis for INFO; docs/redis.md lists the rights that drover needs",
    { cause: error },
  );
}

function checkServer(info: string): readonly string[] {
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  const version = field("redis_version") ?? "";
  if (Number.parseInt(version, 10) < OLDEST_MAJOR) {
    throw new DroverError("config_invalid", `Redis is of version ${version}; drover needs ${OLDEST_MAJOR}.0 or newer`);
  }
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

/** The Redis process that answers, and for how long it has run; undefined on a cluster, where several do. */
export interface RedisRun {
  readonly id: string;
  readonly upForMs: number;
}

export async function redisRun(redis: RedisClient): Promise<RedisRun | undefined> {
  const [server, ...others] = await masterServers(redis);
  if (server === undefined || others.length > 0) return undefined;
  const info = await server.info("server");
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  return { id: field("run_id") ?? "", upForMs: Number(field("uptime_in_seconds") ?? 0) * 1_000 };
}
