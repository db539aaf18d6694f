import { Cluster, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";
import { DroverError } from "../contract/errors.ts";
import { errnoOf } from "../runtime/errno.ts";
import { parseRedisUrl, type RedisUrl } from "../runtime/redis-url.ts";
import type { ClientTlsFiles } from "../runtime/tls/client-material.ts";
import { type TlsFailure, tlsFailureOf } from "../runtime/tls/tls-failure.ts";
import { type RedisTls, readRedisTls } from "./redis-tls.ts";

export type RedisClient = Redis;

/** Reply mapping stays ioredis's default: its types change with it. */
type ConnectionOptions = Omit<RedisOptions, "replyMapping">;

/** With the variables of TLS as `config.redis` has them; they count where the URL asks for TLS. */
export interface OpenRedisOptions extends Partial<ClientTlsFiles> {
  readonly url: string;
  /**
   * - `api`: fails fast, so that a client gets 503 and not a hang.
   * - `worker`: waits for ever; a worker has nothing better to do than to come back.
   * - `blocking`: as `worker`, for one blocking read at a time.
   */
  readonly role: "api" | "worker" | "blocking";
  /** Shown by CLIENT LIST. */
  readonly name: string;
  /** For role `api`. */
  readonly commandTimeoutMs?: number;
  readonly logger: Logger;
}

/**
 * A connection that is half open is given up after this time without an answer, and what is on its way is sent again.
 * The gate's pings keep the API's busy, leases and fetches (every 5 s) the worker's: it is found within 15 s. A
 * `commandTimeout` would do harm there: it rejects a command that Redis may still carry out.
 */
const SOCKET_TIMEOUT_MS = {
  api: 5_000,
  worker: 8_000,
  /** Above the longest block of a reader (5 s) by more than a slow Redis takes. */
  blocking: 12_000,
} as const;

/**
 * A Redis that takes no writes is left for another at most this often: there may be no other, and the API goes on to
 * read from this one.
 */
const READONLY_RECONNECT_MS = { api: 5_000, worker: 1_000, blocking: 1_000 } as const;
/** While Redis loads its data it is asked this often whether it is done; ioredis waits up to 10 s. */
const LOADING_RETRY_MS = 250;
const SENTINEL_COMMAND_TIMEOUT_MS = 2_000;

/** ioredis waits up to 20 s between tries by default; a first launch must follow Redis's return within 5 s. */
const reconnectDelayMs = (attempt: number) => Math.min(100 * 2 ** Math.min(attempt - 1, 4), 1_000);

/**
 * Opens a connection; it connects in the background. Schemes: redis,
 * `redis+sentinel://[user:password@]host:port,host:port/<master name>` and `redis+cluster://[user:password@]host:port,...`;
 * with rediss all of it speaks TLS. Throws `config_invalid` for anything else, and for certificates that cannot be used.
 */
export function openRedis(options: OpenRedisOptions): RedisClient {
  const url = parseRedisUrl(options.url);
  if (url === undefined) {
    throw new DroverError(
      "config_invalid",
      "DROVER_REDIS_URL must be a redis://, rediss://, redis+sentinel:// or redis+cluster:// URL",
    );
  }
  const tls = url.tls ? readRedisTls(options) : undefined;
  const client = connect(options.url, url, {
    ...clientOptions(options),
    ...(tls === undefined ? {} : { tls: tls.options }),
  });
  reportConnection(client, options, tls);
  return client;
}

/**
 * The keys are all on one server; on a cluster that is the node of their slot, and these are all that have slots. Waits
 * until the servers are known.
 */
export async function masterServers(redis: RedisClient): Promise<readonly RedisClient[]> {
  const client: unknown = redis;
  if (!(client instanceof Cluster)) return [redis];
  await client.ping();
  return client.nodes("master");
}

function clientOptions({ role, name, commandTimeoutMs }: OpenRedisOptions): ConnectionOptions {
  const common: ConnectionOptions = {
    connectionName: name,
    retryStrategy: reconnectDelayMs,
    reconnectOnError: leaveReadOnly(READONLY_RECONNECT_MS[role]),
    maxLoadingRetryTime: LOADING_RETRY_MS,
    keepAlive: 10_000,
    socketTimeout: SOCKET_TIMEOUT_MS[role],
  };
  if (role === "api") {
    return {
      ...common,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      connectTimeout: 2_000,
      ...(commandTimeoutMs === undefined ? {} : { commandTimeout: commandTimeoutMs }),
    };
  }
  return { ...common, maxRetriesPerRequest: null, connectTimeout: 5_000 };
}

/**
 * A server that has become a replica keeps its connections: they must be left, so that Sentinel or DNS can name the
 * new master. The command itself is rejected: whoever sent it tries again at its own pace.
 */
function leaveReadOnly(intervalMs: number): (error: Error) => boolean {
  let leftAtMs = Number.NEGATIVE_INFINITY;
  return (error) => {
    const nowMs = performance.now();
    if (!/^(READONLY|UNBLOCKED) /.test(error.message) || nowMs - leftAtMs < intervalMs) return false;
    leftAtMs = nowMs;
    return true;
  };
}

function connect(text: string, url: RedisUrl, options: ConnectionOptions): RedisClient {
  if (url.kind === "server") return new Redis(text, options);
  const { nodes, username, password } = url;
  const credentials: ConnectionOptions = {
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
  };
  if (url.kind === "sentinel") {
    return new Redis({
      ...options,
      ...credentials,
      sentinels: [...nodes],
      name: url.path || "mymaster",
      failoverDetector: true, // a master that is cut off from its sentinels does not say so
      sentinelRetryStrategy: reconnectDelayMs,
      sentinelReconnectStrategy: reconnectDelayMs,
      sentinelCommandTimeout: SENTINEL_COMMAND_TIMEOUT_MS,
      ...(options.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: options.tls }),
    });
  }
  const { enableOfflineQueue, ...nodeOptions } = options;
  const cluster = new Cluster([...nodes], {
    redisOptions: { ...nodeOptions, ...credentials },
    clusterRetryStrategy: reconnectDelayMs,
    ...(enableOfflineQueue === undefined ? {} : { enableOfflineQueue }),
  });
  // Cluster offers the same commands; ioredis's types do not share a base that could be named here.
  return cluster as unknown as RedisClient;
}

/**
 * ioredis throws an unhandled 'error' event; here the first of an outage is a warning and the return is said too. Before
 * it connects again, renewed certificates are read.
 */
function reportConnection(client: RedisClient, { logger, name }: OpenRedisOptions, tls: RedisTls | undefined): void {
  let lostSinceMs: number | undefined;
  let isNew = true;
  client.on("error", (error: Error) => {
    if (lostSinceMs === undefined) {
      const reason = connectionProblem(error, { isNew, isTls: tls !== undefined });
      logger.warn({ connection: name, reason }, "Redis cannot be reached");
    }
    lostSinceMs ??= Date.now();
  });
  client.on("close", () => tls?.refresh());
  client.on("ready", () => {
    if (lostSinceMs !== undefined) logger.info({ connection: name, awayMs: Date.now() - lostSinceMs }, "Redis is back");
    lostSinceMs = undefined;
    isNew = false;
  });
}

const TLS_MENDS = {
  ca: "name its CA with DROVER_REDIS_CA_CERTS",
  "own-certificate": "set DROVER_REDIS_CLIENT_CERT and DROVER_REDIS_CLIENT_KEY",
  peer: "mend it on the server, or use its right name in DROVER_REDIS_URL",
  scheme: "write redis:// in DROVER_REDIS_URL, or switch its TLS on",
} as const;

/** A refused client certificate may look like a server that hangs up: its alert is lost when the connection is reset. */
const HUNG_UP: TlsFailure = {
  reason: "it hung up while TLS began, as a server does that asks for a certificate and gets none that it takes",
  mend: "own-certificate",
};

/**
 * Why Redis cannot be reached, with the way out where it is a setting of ours. `isNew`: the connection has never been
 * usable.
 */
export function connectionProblem(error: Error, { isNew, isTls }: { isNew: boolean; isTls: boolean }): string {
  // A cluster says only that no node answered; why stands in what it got from the last one.
  const said = "lastNodeError" in error && error.lastNodeError instanceof Error ? error.lastNodeError : error;
  if (/^(NOAUTH|WRONGPASS) /.test(said.message)) {
    return `it takes neither this user nor this password: write both into DROVER_REDIS_URL, percent-encoded (${said.message})`;
  }
  const failure = tlsFailureOf(said) ?? (isNew && isTls && errnoOf(said) === "ECONNRESET" ? HUNG_UP : undefined);
  return failure === undefined ? said.message : `${failure.reason}: ${TLS_MENDS[failure.mend]} (${said.message})`;
}
