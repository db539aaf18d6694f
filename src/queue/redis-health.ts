import { performance } from "node:perf_hooks";
import { TIME_UP, within } from "../runtime/bounded-wait.ts";
import { connectionProblem, masterServers, type RedisClient } from "./connection.ts";

const PINGS = 5;

/** What a Redis server says of itself; undefined what it does not tell this user. */
export interface RedisServerFacts {
  readonly version: string;
  readonly role: string | undefined;
  readonly maxmemoryPolicy: string | undefined;
  readonly usedBytes: number;
  /** 0: no limit. */
  readonly maxBytes: number;
  readonly aof: boolean;
  readonly aofWriteFailed: boolean;
  readonly snapshotFailed: boolean;
  /** Since it started. */
  readonly evictedKeys: number;
  readonly appendfsync: string | undefined;
  readonly cluster: boolean;
}

export interface RedisHealth {
  readonly servers: readonly RedisServerFacts[];
  /** Median of some round trips. */
  readonly roundTripMs: number;
  /** This machine's clock minus Redis's. */
  readonly clockAheadMs: number;
}

/**
 * Waits until a connection is usable: undefined, or why it is not. For connections of role `api`, which refuse
 * commands until then.
 */
export async function untilReady(redis: RedisClient, timeoutMs: number): Promise<string | undefined> {
  if (redis.status === "ready") return undefined;
  let last = "it does not answer";
  const noteError = (error: Error) => {
    last = connectionProblem(error, { isNew: true, isTls: redis.options.tls !== undefined });
  };
  redis.on("error", noteError);
  const ready = new Promise<undefined>((resolve) => redis.once("ready", () => resolve(undefined)));
  try {
    return (await within(ready, timeoutMs)) === TIME_UP ? last : undefined;
  } finally {
    redis.off("error", noteError);
  }
}

/** Asks every master. Needs no administrator's rights, which `appendfsync` alone is left out for. */
export async function readRedisHealth(redis: RedisClient): Promise<RedisHealth> {
  const servers = await Promise.all((await masterServers(redis)).map(readServer));
  const pings: number[] = [];
  for (let count = 0; count < PINGS; count++) {
    const startedMs = performance.now();
    await redis.ping();
    pings.push(performance.now() - startedMs);
  }
  const askedAtMs = Date.now();
  const [seconds, micros] = await redis.time();
  const answeredAtMs = Date.now();
  return {
    servers,
    roundTripMs: pings.sort((a, b) => a - b)[Math.floor(PINGS / 2)] ?? 0,
    clockAheadMs: (askedAtMs + answeredAtMs) / 2 - (Number(seconds) * 1_000 + Number(micros) / 1_000),
  };
}

/** What a full Redis does is settled by it on every master. Throws what Redis says where this user may not. */
export async function setNoEviction(redis: RedisClient): Promise<void> {
  for (const server of await masterServers(redis)) await server.config("SET", "maxmemory-policy", "noeviction");
}

async function readServer(server: RedisClient): Promise<RedisServerFacts> {
  const facts = await readServerInfo(server);
  const fsync = await server.config("GET", "appendfsync").catch(() => undefined); // managed servers refuse CONFIG
  return { ...facts, appendfsync: Array.isArray(fsync) ? String(fsync[1]) : undefined };
}

/** What every user may ask. */
export async function readServerInfo(server: RedisClient): Promise<Omit<RedisServerFacts, "appendfsync">> {
  const info = await server.info();
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  return {
    version: field("redis_version") ?? "",
    role: field("role"),
    maxmemoryPolicy: field("maxmemory_policy"),
    usedBytes: Number(field("used_memory") ?? 0),
    maxBytes: Number(field("maxmemory") ?? 0),
    aof: field("aof_enabled") === "1",
    aofWriteFailed: field("aof_last_write_status") === "err",
    snapshotFailed: field("rdb_last_bgsave_status") === "err",
    evictedKeys: Number(field("evicted_keys") ?? 0),
    cluster: field("cluster_enabled") === "1",
  };
}
