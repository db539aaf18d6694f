import { performance } from "node:perf_hooks";
import { VM_STATES, type VmState, WAITING_STATES } from "../contract/vm-state.ts";
import { masterServers, type RedisClient } from "./connection.ts";
import { EventLog } from "./event-log.ts";
import { readServerInfo } from "./redis-health.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

/** Pools are named by requests, so that there may be any number of them: what is beyond is summed up. */
const POOLS_MAX = 100;
/** Of so many of the oldest waiting VMs the pools are looked up. */
const OLDEST_LOOKED_AT = 500;

/** Of unread events the oldest is wanted; so many are read at once, should there be some that nobody here can read. */
const EVENTS_LOOKED_AT = 50;

/** VMs of a pool. */
export interface PoolFigures {
  readonly pool: string;
  readonly waiting: number;
  readonly delayed: number;
  readonly active: number;
  /** Undefined where none waits. */
  readonly oldestAgeMs: number | undefined;
}

/** How the queue stands, counted at one moment. */
export interface FleetFigures {
  readonly pingMs: number;
  readonly server: {
    readonly usedBytes: number;
    readonly maxBytes: number;
    readonly evictedKeys: number;
    readonly noeviction: boolean;
    readonly aof: boolean;
    readonly persistenceOk: boolean;
  };
  readonly states: Readonly<Record<VmState, number>>;
  /** The fullest ones. */
  readonly pools: readonly PoolFigures[];
  /** All others together. */
  readonly otherPools: Omit<PoolFigures, "pool"> | undefined;
  readonly unqueued: number;
  readonly openBatches: number;
  readonly endedBatches: number;
  readonly batchesDue: number;
  readonly batchesDueAgeMs: number;
  /** Age of the oldest event after `readUpTo`. */
  readonly eventLagMs: number;
}

/**
 * Counts what a scrape shows of the whole fleet, in a handful of round trips that do not grow with the number of VMs.
 * `readUpTo` is the newest event that this process has handed on. Rejects as Redis does.
 */
export async function readFleetFigures(
  { redis, keys }: { readonly redis: RedisClient; readonly keys: RedisKeys },
  readUpTo: string,
): Promise<FleetFigures> {
  const startedMs = performance.now();
  const [seconds, micros] = await redis.time();
  const pingMs = performance.now() - startedMs;
  const nowMs = Number(seconds) * 1_000 + Number(micros) / 1_000;
  const [server, counts, pools, unread] = await Promise.all([
    readServers(redis),
    readCounts(redis, keys, nowMs),
    readPools(redis, keys, nowMs),
    new EventLog({ redis, keys }).read({ after: readUpTo, count: EVENTS_LOOKED_AT }), // passes over what it does not know
  ]);
  const unreadAtMs = unread[0] === undefined ? nowMs : Number.parseInt(unread[0].id, 10);
  return { pingMs, server, ...counts, ...pools, eventLagMs: Math.max(0, nowMs - unreadAtMs) };
}

/** Of several masters the worst of each. */
async function readServers(redis: RedisClient): Promise<FleetFigures["server"]> {
  const servers = await Promise.all((await masterServers(redis)).map(readServerInfo));
  const highest = (of: (server: (typeof servers)[number]) => number) => Math.max(...servers.map(of));
  return {
    usedBytes: highest(({ usedBytes }) => usedBytes),
    maxBytes: highest(({ maxBytes }) => maxBytes),
    evictedKeys: highest(({ evictedKeys }) => evictedKeys),
    noeviction: servers.every(
      ({ maxmemoryPolicy }) => maxmemoryPolicy === undefined || maxmemoryPolicy === "noeviction",
    ),
    aof: servers.every(({ aof }) => aof),
    persistenceOk: !servers.some(({ aofWriteFailed, snapshotFailed }) => aofWriteFailed || snapshotFailed),
  };
}

async function readCounts(redis: RedisClient, keys: RedisKeys, nowMs: number) {
  const pipeline = redis.pipeline();
  for (const state of VM_STATES) pipeline.zcard(keys.stateVms(state));
  pipeline.zcard(keys.pendingJobs).scard(keys.openBatches).zcard(keys.endedBatches);
  const queues = [keys.dueBatches, keys.dueSealedBatches];
  for (const queue of queues) pipeline.zcard(queue).zrange(queue, "0", "0", "WITHSCORES");
  const replies = await repliesOf(pipeline);
  const [unqueued, openBatches, endedBatches, ...due] = replies.slice(VM_STATES.length);
  const dueAtMs = [due[1], due[3]].map((first) =>
    Array.isArray(first) && first.length > 1 ? Number(first[1]) : nowMs,
  );
  return {
    states: Object.fromEntries(
      VM_STATES.map((state, index) => [state, Number(replies[index])]),
    ) as FleetFigures["states"], // one of each
    unqueued: Number(unqueued),
    openBatches: Number(openBatches),
    endedBatches: Number(endedBatches),
    batchesDue: Number(due[0]) + Number(due[2]),
    batchesDueAgeMs: Math.max(0, nowMs - Math.min(...dueAtMs)),
  };
}

async function readPools(redis: RedisClient, keys: RedisKeys, nowMs: number) {
  const names = await redis.smembers(keys.pools);
  const pipeline = redis.pipeline();
  for (const pool of names) {
    const key = (part: string) => keys.bull(poolQueueName(pool), part);
    pipeline.zcard(key("prioritized")).llen(key("wait")).zcard(key("delayed")).llen(key("active"));
  }
  const [replies, oldest] = await Promise.all([repliesOf(pipeline), readOldest(redis, keys)]);
  const found = names.map((pool, index): PoolFigures => {
    const [prioritized = 0, wait = 0, delayed = 0, active = 0] = replies.slice(4 * index, 4 * index + 4).map(Number);
    const sinceMs = oldest.get(pool);
    const waiting = prioritized + wait;
    const oldestAgeMs = sinceMs === undefined || waiting + delayed === 0 ? undefined : Math.max(0, nowMs - sinceMs);
    return { pool, waiting, delayed, active, oldestAgeMs };
  });
  // Pools that have nothing come last: they are the first that nobody misses.
  found.sort((a, b) => sizeOf(b) - sizeOf(a) || (a.pool < b.pool ? -1 : 1));
  const others = found.slice(POOLS_MAX);
  return { pools: found.slice(0, POOLS_MAX), otherPools: others.length === 0 ? undefined : summed(others) };
}

/** Since when the VM of a pool waits that waits longest (Unix ms). A pool with none among the oldest of all is left out. */
async function readOldest(redis: RedisClient, keys: RedisKeys): Promise<ReadonlyMap<string, number>> {
  const vmIds = await Promise.all(
    WAITING_STATES.map((state) => redis.zrange(keys.stateVms(state), "0", String(OLDEST_LOOKED_AT - 1))),
  );
  const pipeline = redis.pipeline();
  for (const vmId of vmIds.flat()) pipeline.hmget(keys.record(vmId), "pool", "stateAtMs");
  const oldest = new Map<string, number>();
  for (const reply of await repliesOf(pipeline)) {
    const [pool, atMs] = Array.isArray(reply) ? reply : [];
    if (typeof pool !== "string" || typeof atMs !== "string") continue; // purged meanwhile
    oldest.set(pool, Math.min(oldest.get(pool) ?? Number.POSITIVE_INFINITY, Number(atMs)));
  }
  return oldest;
}

function summed(pools: readonly PoolFigures[]): Omit<PoolFigures, "pool"> {
  const sum = (of: (pool: PoolFigures) => number) => pools.reduce((total, pool) => total + of(pool), 0);
  const ages = pools.flatMap(({ oldestAgeMs }) => oldestAgeMs ?? []);
  return {
    waiting: sum(({ waiting }) => waiting),
    delayed: sum(({ delayed }) => delayed),
    active: sum(({ active }) => active),
    oldestAgeMs: ages.length === 0 ? undefined : Math.max(...ages),
  };
}

function sizeOf({ waiting, delayed, active }: PoolFigures): number {
  return waiting + delayed + active;
}

async function repliesOf(pipeline: ReturnType<RedisClient["pipeline"]>): Promise<readonly unknown[]> {
  return ((await pipeline.exec()) ?? []).map(([error, value]) => {
    if (error !== null) throw error;
    return value;
  });
}
