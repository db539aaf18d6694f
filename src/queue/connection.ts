import { Cluster, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { DroverError } from "../contract/errors.ts";

export type RedisClient = Redis;

/** Reply mapping stays ioredis's default: its types change with it. */
type ConnectionOptions = Omit<RedisOptions, "replyMapping">;

export interface OpenRedisOptions {
  readonly url: string;
  /**
   * - `api`: fails fast, so that a client gets 503 and not a hang.
   * - `worker`: waits for ever; a worker has nothing better to do than to come back.
   * - `blocking`: as `worker`, for one blocking read at a time.
   */
  readonly role: "api" | "worker" | "blocking";
  /** Shown by CLIENT LIST. */
  readonly name: string;
  readonly commandTimeoutMs?: number;
  readonly logger: Logger;
}

/** A connection that is half open is given up after this time without an answer; the gate's pings keep a live one busy. */
const API_SOCKET_TIMEOUT_MS = 5_000;

/** ioredis waits up to 20 s between tries by default; a first launch must follow Redis's return within 5 s. */
const reconnectDelayMs = (attempt: number) => Math.min(100 * 2 ** Math.min(attempt - 1, 4), 1_000);

/**
 * Opens a connection; it connects in the background. Schemes: redis, rediss,
 * `redis+sentinel://[user:password@]host:port,host:port/<master name>` and `redis+cluster://[user:password@]host:port,...`.
 * Throws `config_invalid` for anything else.
 */
export function openRedis(options: OpenRedisOptions): RedisClient {
  const client = connect(options.url, clientOptions(options));
  reportConnection(client, options);
  return client;
}

function clientOptions({ role, name, commandTimeoutMs }: OpenRedisOptions): ConnectionOptions {
  const common: ConnectionOptions = { connectionName: name, retryStrategy: reconnectDelayMs, keepAlive: 10_000 };
  if (role === "api") {
    return {
      ...common,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      connectTimeout: 2_000,
      socketTimeout: API_SOCKET_TIMEOUT_MS,
      ...(commandTimeoutMs === undefined ? {} : { commandTimeout: commandTimeoutMs }),
    };
  }
  return { ...common, maxRetriesPerRequest: null, connectTimeout: 5_000 };
}

function connect(url: string, options: ConnectionOptions): RedisClient {
  if (/^rediss?:/.test(url)) return new Redis(url, options);
  const several = /^redis\+(sentinel|cluster):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/]+)(?:\/(.*))?$/.exec(url);
  if (several === null) {
    throw new DroverError(
      "config_invalid",
      "DROVER_REDIS_URL must start with redis://, rediss://, redis+sentinel:// or redis+cluster://",
    );
  }
  const [, kind, user, password, hosts = "", path = ""] = several;
  const nodes = hosts.split(",").map((node) => ({
    host: node.replace(/:\d+$/, ""),
    port: Number(/:(\d+)$/.exec(node)?.[1] ?? (kind === "sentinel" ? 26_379 : 6_379)),
  }));
  const credentials: ConnectionOptions = {
    ...(user ? { username: decodeURIComponent(user) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
  };
  if (kind === "sentinel") return new Redis({ ...options, ...credentials, sentinels: nodes, name: path || "mymaster" });
  const { enableOfflineQueue, ...nodeOptions } = options;
  const cluster = new Cluster(nodes, {
    redisOptions: { ...nodeOptions, ...credentials },
    ...(enableOfflineQueue === undefined ? {} : { enableOfflineQueue }),
  });
  // Cluster offers the same commands; ioredis's types do not share a base that could be named here.
  return cluster as unknown as RedisClient;
}

/** ioredis throws an unhandled 'error' event; here the first of an outage is a warning and the return is said too. */
function reportConnection(client: RedisClient, { logger, name }: OpenRedisOptions): void {
  let lostSinceMs: number | undefined;
  client.on("error", (error: Error) => {
    if (lostSinceMs === undefined) logger.warn({ connection: name, reason: error.message }, "Redis cannot be reached");
    lostSinceMs ??= Date.now();
  });
  client.on("ready", () => {
    if (lostSinceMs !== undefined) logger.info({ connection: name, awayMs: Date.now() - lostSinceMs }, "Redis is back");
    lostSinceMs = undefined;
  });
}
