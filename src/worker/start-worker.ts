import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { SpareOverlay } from "../qemu/spare-overlay.ts";
import { openRedis } from "../queue/connection.ts";
import { HostRegistry } from "../queue/host-registry.ts";
import { JobClaims } from "../queue/job-claims.ts";
import { LaunchStore } from "../queue/launch-store.ts";
import { LiveConsole } from "../queue/live-console.ts";
import { PoolWaiter } from "../queue/pool-waiter.ts";
import { redisKeys } from "../queue/redis-keys.ts";
import { checkRedisPolicy } from "../queue/redis-policy.ts";
import { RemovalJobs } from "../queue/removal-jobs.ts";
import { Sweeper } from "../queue/sweeper.ts";
import { VmQueue } from "../queue/vm-queue.ts";
import { VmStore } from "../queue/vm-store.ts";
import { VmUpkeep } from "../queue/vm-upkeep.ts";
import { reservedPorts } from "../runtime/config/reserved-ports.ts";
import type { Config } from "../runtime/config-shape.ts";
import { Scope } from "../runtime/scope.ts";
import { loadSecretKeys } from "../runtime/secret-keys.ts";
import { BootGate } from "./boot-gate.ts";
import { describeHost } from "./describe-host.ts";
import { FetchLoop } from "./fetch-loop.ts";
import { openHostState } from "./host-state.ts";
import { Mutex } from "./mutex.ts";
import { recoverLeftovers, recoverUnknownJobs } from "./recover.ts";
import { Repeat } from "./repeat.ts";
import { StrandedJobs } from "./stranded-jobs.ts";
import { takeJob } from "./take-job.ts";
import { VmRuns } from "./vm-runs.ts";

/** Renewed every 5 s, lapses after 30 s (design of the leases). */
const LEASE_MS = 30_000;
const LEASE_RENEW_MS = 5_000;
/** How long a stop waits for Redis when it cannot be reached: the next start finishes from the disk. */
const STOP_GRACE_MS = 10_000;
const STRANDED_RETRY_MS = 2_000;
const FREE_PORTS_REFRESH_MS = 5_000;

export interface StartedWorker {
  readonly hostId: string;
  /** Stops fetching, gives the running VMs back to the queue, and ends. Bounded; nothing is left running. */
  stop(): Promise<void>;
}

/**
 * Starts the worker of this host. Returns once it fetches. Throws `config_invalid` when the state directory, the
 * listening addresses or the wished TEE cannot be had.
 */
export async function startWorker({ config, logger }: { config: Config; logger: Logger }): Promise<StartedWorker> {
  const scope = new Scope();
  try {
    return await assemble(scope, { config, logger });
  } catch (error) {
    await scope.close();
    throw error;
  }
}

async function assemble(scope: Scope, options: { config: Config; logger: Logger }): Promise<StartedWorker> {
  const { config, logger } = options;
  const keys = redisKeys(config.redis.prefix);
  const host = scope.own(
    await openHostState({ stateDir: config.stateDir, instanceId: config.manager.instanceId }),
    (state) => state[Symbol.asyncDispose](),
  );
  const secretKeys = await loadSecretKeys(config.secrets);
  const connect = (role: "worker" | "blocking", name: string) =>
    scope.own(openRedis({ url: config.redis.url, role, name: `drover-${host.hostId}-${name}`, logger }), (client) =>
      client.disconnect(),
    );
  const redis = connect("worker", "worker");
  const bull = connect("worker", "bull");
  const range = { ...config.qemu.hostFwdRange, reserved: reservedPorts(config) };
  const description = await describeHost({ config, host, redis, logger });
  const store = new VmStore({ redis, keys, eventsMax: config.eventsMax, keep: config.keep });
  const launches = new LaunchStore({
    redis,
    keys,
    bootId: host.bootId,
    range,
    eventsMax: config.eventsMax,
    keep: config.keep,
  });
  const hosts = new HostRegistry({ redis, keys });
  const claims = scope.own(new JobClaims({ redis: bull, keys, hostId: host.hostId, logger }), (owned) => owned.close());
  const queue = scope.own(new VmQueue({ redis: bull, keys, logger }), (owned) => owned.close());
  const mutex = new Mutex();
  const giveUp = new AbortController();
  const deps = { config, host, store, launches, hosts, claims, mutex, logger };

  for (const warning of await checkRedisPolicy(redis)) logger.warn(warning);
  await launches.countFreePorts();
  await hosts.announce(description.host, LEASE_MS);
  await recoverLeftovers(deps);
  await recoverUnknownJobs(deps, () => false);

  const runs = new VmRuns({
    ...deps,
    secretKeys,
    tee: description.tee,
    gpu: description.gpu,
    address: description.host.address,
    forwardBind: description.forwardBind,
    console: new LiveConsole({ redis, keys }),
    boots: new BootGate(config.maxBoots),
    giveUp: giveUp.signal,
    disks: scope.own(await SpareOverlay.open(join(host.stateDir, "spare")), (owned) => owned.close()),
  });
  const stranded = new StrandedJobs({ claims, stateDir: host.stateDir, logger });
  const loop = new FetchLoop({
    pools: config.pools,
    claims,
    waiter: new PoolWaiter({ redis: connect("blocking", "wait"), keys, pools: config.pools }),
    mutex,
    logger,
    newToken: host.newToken,
    hasRoom: () => runs.hasRoom(),
    roomChanged: (signal) => runs.roomChanged(signal),
    take: async (job) => {
      const launch = await takeJob({ ...deps, hostFields: description.recordFields }, job);
      if (launch !== undefined) runs.start(launch);
    },
    strand: (job) => stranded.add(job),
  });
  const removals = new RemovalJobs({
    redis: bull,
    keys,
    hostId: host.hostId,
    logger,
    onRemoval: (vmId) => runs.heedMark(vmId, store),
  });
  const sweeper = new Sweeper({
    store,
    upkeep: new VmUpkeep({ redis, keys, keep: config.keep }),
    queue,
    logger,
    intervalMs: config.sweepMs,
  });
  const repeats = [
    new Repeat({
      what: "renewing the lease",
      intervalMs: LEASE_RENEW_MS,
      step: () => hosts.announce(description.host, LEASE_MS),
      logger,
    }),
    new Repeat({
      what: "reconciling",
      intervalMs: config.reconcileMs,
      step: async () => {
        await runs.heedAllMarks();
        await recoverUnknownJobs(deps, (job) => runs.has(job));
      },
      logger,
    }),
    new Repeat({
      what: "giving back stranded jobs",
      intervalMs: STRANDED_RETRY_MS,
      step: () => stranded.giveBack(),
      logger,
    }),
    new Repeat({
      what: "counting free ports",
      intervalMs: Math.min(FREE_PORTS_REFRESH_MS, config.reconcileMs),
      step: () => runs.refreshFreePorts(),
      logger,
    }),
  ];
  loop.start();
  sweeper.start();
  logger.info({ host: description.host }, "worker started");

  const stop = async () => {
    logger.info({ running: runs.size }, "worker stopping");
    await loop.stop();
    await runs.releaseAll();
    await Promise.all([...repeats.map((repeat) => repeat.stop()), sweeper.stop(), removals.close()]);
    await hosts.withdraw(description.host);
    await scope.close();
  };
  let stopped: Promise<void> | undefined;
  return {
    hostId: host.hostId,
    stop: () => {
      const boundMs = (runs.size === 0 ? 0 : ladderMs(config)) + STOP_GRACE_MS;
      stopped ??= boundedStop(stop, { boundMs, giveUp, scope, logger });
      return stopped;
    },
  };
}

/** A stop must not hang on a Redis that is away: what is left undone is on disk and the next start finishes it. */
async function boundedStop(
  stop: () => Promise<void>,
  { boundMs, giveUp, scope, logger }: { boundMs: number; giveUp: AbortController; scope: Scope; logger: Logger },
): Promise<void> {
  const timeout = new AbortController();
  const late = delay(boundMs, "late", { signal: timeout.signal }).catch(() => "in time");
  const done = await Promise.race([stop().then(() => "in time"), late]);
  timeout.abort();
  if (done === "late") {
    logger.error({ boundMs }, "the worker could not stop cleanly in time; its next start finishes what is on disk");
    giveUp.abort();
    await scope.close();
  }
}

function ladderMs({ stop }: Config): number {
  return stop.powerdownMs + stop.quitMs + stop.termMs;
}
