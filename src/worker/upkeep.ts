import type { Logger } from "pino";
import { findLaunchesOf } from "../qemu/process-scan.ts";
import type { RedisClient } from "../queue/connection.ts";
import { HostRegistry } from "../queue/host-registry.ts";
import { LostVms } from "../queue/lost-vms.ts";
import { Reaper } from "../queue/reaper.ts";
import type { RedisKeys } from "../queue/redis-keys.ts";
import { RemovalJobs } from "../queue/removal-jobs.ts";
import { Sweeper } from "../queue/sweeper.ts";
import type { VmQueue } from "../queue/vm-queue.ts";
import type { VmStore } from "../queue/vm-store.ts";
import { VmUpkeep } from "../queue/vm-upkeep.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { RecoverDeps } from "./recover.ts";
import { Repeat } from "./repeat.ts";
import { StrayProcesses } from "./stray-processes.ts";
import type { VmRuns } from "./vm-runs.ts";

const FREE_PORTS_REFRESH_MS = 5_000;

export interface UpkeepDeps {
  readonly config: Config;
  readonly redis: RedisClient;
  /** The connection of BullMQ's queues. */
  readonly bull: RedisClient;
  readonly keys: RedisKeys;
  readonly hostId: string;
  readonly store: VmStore;
  readonly queue: VmQueue;
  readonly recover: RecoverDeps;
  readonly runs: VmRuns;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RunningUpkeep {
  stop(): Promise<void>;
}

/** Starts what a worker does beside its own VMs: removals that it is told of, what others left half done, lost hosts. */
export function startUpkeep(deps: UpkeepDeps): RunningUpkeep {
  const { config, redis, bull, keys, hostId, store, queue, recover, runs, clock, logger } = deps;
  const removals = new RemovalJobs({ redis: bull, keys, hostId, logger, onRemoval: (vmId) => runs.heedMark(vmId) });
  const upkeep = new VmUpkeep({ redis, keys, keep: config.keep });
  const sweeper = new Sweeper({ store, upkeep, queue, logger, intervalMs: config.sweepMs });
  const reaper = new Reaper({
    hosts: new HostRegistry({ redis, keys }),
    lostVms: new LostVms({ redis, keys, eventsMax: config.eventsMax, keep: config.keep }),
    logger,
  });
  const strays = new StrayProcesses({ ...recover, launches: () => findLaunchesOf(config.stateDir) });
  const repeats = [
    new Repeat({
      what: "looking for stray processes",
      intervalMs: config.reconcileMs,
      step: () => strays.look(),
      clock,
      logger,
    }),
    new Repeat({
      what: "counting free ports",
      intervalMs: Math.min(FREE_PORTS_REFRESH_MS, config.reconcileMs),
      step: () => runs.refreshFreePorts(),
      clock,
      logger,
    }),
  ];
  sweeper.start();
  reaper.start();
  return {
    stop: async () => {
      await Promise.all([...repeats.map((repeat) => repeat.stop()), sweeper.stop(), reaper.stop(), removals.close()]);
    },
  };
}
