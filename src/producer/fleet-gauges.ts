import { performance } from "node:perf_hooks";
import type { Logger } from "pino";
import { DroverError } from "../contract/errors.ts";
import { HOST_STATUSES } from "../contract/host-view.ts";
import { HOST_WISHES, isWantedOpen } from "../contract/host-wish.ts";
import type { FleetFigures, PoolFigures } from "../queue/fleet-figures.ts";
import { unmetBy } from "../queue/host-description.ts";
import type { HostRegistry, KnownHost } from "../queue/host-registry.ts";
import { TIME_UP, within } from "../runtime/bounded-wait.ts";
import type { GaugeReader, Gauging } from "../runtime/metrics/meter.ts";
import { statusOf } from "./host-view.ts";
import type { RedisGate } from "./redis-gate.ts";

/** A scrape waits for Redis no longer: Prometheus gives up after 10 s by default. */
const READ_MAX_MS = 2_000;
/** For so long an answer serves all who scrape. */
const FRESH_MS = 2_000;

export interface FleetGaugeDeps {
  readonly readFigures: () => Promise<FleetFigures>;
  readonly hosts: Pick<HostRegistry, "hosts">;
  readonly gate: Pick<RedisGate, "run">;
  readonly logger: Logger;
}

interface Reading {
  readonly figures: FleetFigures;
  readonly hosts: readonly KnownHost[];
}

/**
 * What a scrape shows of the whole fleet. Redis is asked once for all who scrape within two seconds, and not waited for
 * longer than that; while it is away only this is shown.
 */
export function fleetGauges(deps: FleetGaugeDeps): GaugeReader {
  let reading: Promise<Reading | "away" | "failed"> | undefined;
  let readAtMs = Number.NEGATIVE_INFINITY;
  return async (gauges) => {
    if (performance.now() - readAtMs >= FRESH_MS) {
      readAtMs = performance.now();
      reading = read(deps);
    }
    const found = await reading;
    gauges.set("drover_redis_up", {}, found !== "away");
    if (typeof found === "object") show(gauges, found);
  };
}

/** Never rejects: a scrape has more to tell than this. */
async function read({ readFigures, hosts, gate, logger }: FleetGaugeDeps): Promise<Reading | "away" | "failed"> {
  try {
    const both = await within(
      gate.run(() => Promise.all([readFigures(), hosts.hosts()])),
      READ_MAX_MS,
    );
    return both === TIME_UP ? "away" : { figures: both[0], hosts: both[1] };
  } catch (error) {
    if (error instanceof DroverError && error.code === "redis_unavailable") return "away";
    logger.warn({ err: error }, "what the metrics show of the fleet could not be read");
    return "failed";
  }
}

function show(gauges: Gauging, { figures, hosts }: Reading): void {
  const { server, states, pools, otherPools } = figures;
  gauges.set("drover_redis_ping_seconds", {}, figures.pingMs / 1_000);
  gauges.set("drover_redis_memory_used_bytes", {}, server.usedBytes);
  gauges.set("drover_redis_memory_max_bytes", {}, server.maxBytes);
  gauges.set("drover_redis_evicted_keys", {}, server.evictedKeys);
  gauges.set("drover_redis_noeviction", {}, server.noeviction);
  gauges.set("drover_redis_aof", {}, server.aof);
  gauges.set("drover_redis_persistence_ok", {}, server.persistenceOk);
  gauges.set("drover_event_lag_seconds", {}, figures.eventLagMs / 1_000);
  gauges.set("drover_unqueued_vms", {}, figures.unqueued);
  gauges.set("drover_batches", { state: "open" }, figures.openBatches);
  gauges.set("drover_batches", { state: "ended" }, figures.endedBatches);
  gauges.set("drover_batches_due", {}, figures.batchesDue);
  gauges.set("drover_batches_due_age_seconds", {}, figures.batchesDueAgeMs / 1_000);
  for (const [state, count] of Object.entries(states)) gauges.set("drover_vms", { state }, count);
  for (const pool of pools) {
    showPool(gauges, pool);
    gauges.set("drover_pool_hosts", { pool: pool.pool }, hosts.filter((host) => takes(host, pool.pool)).length);
  }
  if (otherPools !== undefined) showPool(gauges, { pool: "other", ...otherPools });
  showHosts(gauges, hosts);
}

function showPool(gauges: Gauging, { pool, waiting, delayed, active, oldestAgeMs }: PoolFigures): void {
  gauges.set("drover_queue_vms", { pool, place: "waiting" }, waiting);
  gauges.set("drover_queue_vms", { pool, place: "delayed" }, delayed);
  gauges.set("drover_queue_vms", { pool, place: "active" }, active);
  const ageS = oldestAgeMs === undefined ? undefined : oldestAgeMs / 1_000;
  gauges.set("drover_queue_oldest_age_seconds", { pool }, ageS);
}

function showHosts(gauges: Gauging, hosts: readonly KnownHost[]): void {
  const count = (is: (host: KnownHost) => boolean) => hosts.filter(is).length;
  for (const status of HOST_STATUSES)
    gauges.set(
      "drover_hosts",
      { status },
      count((host) => statusOf(host) === status),
    );
  const live = hosts.filter((host) => statusOf(host) === "live");
  for (const wish of HOST_WISHES) {
    gauges.set("drover_hosts_wished", { wish }, live.filter((host) => (host.wish?.kind ?? "open") === wish).length);
  }
  gauges.set("drover_hosts_paused", {}, live.filter(isPaused).length);
  gauges.set(
    "drover_fleet_slots",
    {},
    live.reduce((sum, host) => sum + slotsOf(host), 0),
  );
}

function isPaused({ description, nowMs }: KnownHost): boolean {
  return (description?.breaker?.openUntilMs ?? 0) > nowMs;
}

function slotsOf({ description }: KnownHost): number {
  if (description === undefined) return 0;
  const { slots, ports } = description;
  const places = ports.last - ports.first + 1;
  return slots <= 0 ? places : Math.min(slots, places);
}

/** Whether the host is there to take VMs of the pool. */
function takes({ lease, description, wish }: KnownHost, pool: string): boolean {
  if (lease === undefined || description === undefined || !isWantedOpen(wish)) return false;
  return unmetBy(description, pool) === undefined;
}
