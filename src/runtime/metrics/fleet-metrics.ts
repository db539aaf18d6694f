import { type MetricSpec, PLAIN } from "./metric-spec.ts";

/**
 * What an API reads from Redis when it is scraped: the same from every API, so that a query takes the highest of them
 * and never the sum. None of them is there while Redis is away, but `drover_redis_up`.
 */
export const FLEET_METRICS = {
  drover_redis_up: {
    type: "gauge",
    help: "1 while Redis answers this API, else 0.",
    labels: PLAIN,
  },
  drover_redis_ping_seconds: {
    type: "gauge",
    help: "Time of one round trip to Redis, measured at the scrape.",
    labels: PLAIN,
  },
  drover_redis_memory_used_bytes: {
    type: "gauge",
    help: "Memory that Redis uses; of several masters the fullest.",
    labels: PLAIN,
  },
  drover_redis_memory_max_bytes: {
    type: "gauge",
    help: "The limit of Redis's memory (maxmemory); 0 is none.",
    labels: PLAIN,
  },
  drover_redis_evicted_keys: {
    type: "gauge",
    help: "Keys that Redis has thrown away for lack of memory since it started: VMs may be lost with them.",
    labels: PLAIN,
  },
  drover_redis_noeviction: {
    type: "gauge",
    help: "1 where a full Redis refuses writes (maxmemory-policy noeviction), 0 where it throws keys away.",
    labels: PLAIN,
  },
  drover_redis_aof: {
    type: "gauge",
    help: "1 where Redis writes each change to its append-only file, 0 where a crash loses what came since the last snapshot.",
    labels: PLAIN,
  },
  drover_redis_persistence_ok: {
    type: "gauge",
    help: "0 after the last write of the append-only file or the last snapshot has failed.",
    labels: PLAIN,
  },
  drover_vms: {
    type: "gauge",
    help: "VMs that have a record, by state.",
    labels: { state: "`queued`, `running`, `failed`, ... (docs/api.md)" },
  },
  drover_queue_vms: {
    type: "gauge",
    help: "VMs by pool: `waiting` for a host, `delayed` until their next try, `active` on a host.",
    labels: {
      pool: "the pool with its needs, for example `default+snp`; `other` sums up what is beyond the first 100 pools",
      place: "`waiting`, `delayed`, `active`",
    },
  },
  drover_queue_oldest_age_seconds: {
    type: "gauge",
    help: "How long the VM of the pool has waited that waits longest. Only of pools with one among the 500 VMs that wait longest of all.",
    labels: { pool: "as above" },
  },
  drover_pool_hosts: {
    type: "gauge",
    help: "Live hosts that take VMs of the pool.",
    labels: { pool: "as above, without `other`" },
  },
  drover_unqueued_vms: {
    type: "gauge",
    help: "Accepted VMs whose job is not in the queue yet; a sweeper adds what an API has left.",
    labels: PLAIN,
  },
  drover_hosts: {
    type: "gauge",
    help: "Hosts by status.",
    labels: { status: "`live`, `away`, `silent`, `gone`, `lost` (docs/hosts.md)" },
  },
  drover_hosts_wished: {
    type: "gauge",
    help: "Live hosts by what an operator wants of them.",
    labels: { wish: "`open`, `cordoned`, `draining`, `evacuating` (docs/hosts.md)" },
  },
  drover_hosts_paused: {
    type: "gauge",
    help: "Live hosts that take no VM for now, because their own faults spoilt several launches in a row.",
    labels: PLAIN,
  },
  drover_fleet_slots: {
    type: "gauge",
    help: "Slots of all live hosts together; one without a limit counts with its ports.",
    labels: PLAIN,
  },
  drover_batches: {
    type: "gauge",
    help: "Batches that are kept.",
    labels: { state: "`open`: it has VMs that have not ended, or will have some; `ended`" },
  },
  drover_batches_due: {
    type: "gauge",
    help: "Batches that have something to do now.",
    labels: PLAIN,
  },
  drover_batches_due_age_seconds: {
    type: "gauge",
    help: "For how long the batch has had something to do that has waited longest for a feeder; 0 when none has.",
    labels: PLAIN,
  },
} as const satisfies Record<string, MetricSpec>;
