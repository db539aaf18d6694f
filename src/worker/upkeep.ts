import type { Logger } from "pino";
import { findLaunchesOf } from "../qemu/process-scan.ts";
import type { RedisClient } from "../queue/connection.ts";
import { HostRegistry } from "../queue/host-registry.ts";
import { LostVms } from "../queue/lost-vms.ts";
import { openBatchFeeder } from "../queue/open-batch-feeder.ts";
import { Reaper } from "../queue/reaper.ts";
import type { RedisKeys } from "../queue/redis-keys.ts";
import { RemovalJobs } from "../queue/removal-jobs.ts";
import { Sweeper } from "../queue/sweeper.ts";
import type { VmQueue } from "../queue/vm-queue.ts";
import type { VmStore } from "../queue/vm-store.ts";
import { VmUpkeep } from "../queue/vm-upkeep.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import { type Counting, NO_COUNTING } from "../runtime/metrics/meter.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { RecoverDeps } from "./recover.ts";
import { Repeat } from "./repeat.ts";
import { RoomTeller } from "./room-teller.ts";
import { StrayProcesses } from "./stray-processes.ts";
import type { VmRuns } from "./vm-runs.ts";
import type { WishKeeper } from "./wish-keeper.ts";

const FREE_PORTS_REFRESH_MS = 5_000;
/** Every telling is a renewal of the lease: not more often than this, however quickly VMs come and go. */
const ROOM_TOLD_MS = 1_000;
/** While a host is evacuated, VMs that nobody could take are looked at again this often. */
const EVACUATION_LOOK_MS = 1_000;

export interface UpkeepDeps {
  readonly config: Config;
  readonly redis: RedisClient;
  /** The connection of BullMQ's queues. */
  readonly bull: RedisClient;
  /** A connection for waiting for batches alone. */
  readonly blocking: RedisClient;
  readonly keys: RedisKeys;
  readonly hostId: string;
  readonly store: VmStore;
  readonly queue: VmQueue;
  readonly recover: RecoverDeps;
  readonly runs: VmRuns;
  readonly lease: Pick<LeaseKeeper, "describe">;
  readonly wishes: Pick<WishKeeper, "step">;
  /** Called when an operator wants something of this host. */
  readonly onWish: () => void;
  readonly counting?: Counting;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface RunningUpkeep {
  stop(): Promise<void>;
}

/** Starts what a worker does beside its own VMs: removals that it is told of, what others left half done, lost hosts. */
export function startUpkeep(deps: UpkeepDeps): RunningUpkeep {
  const {
    config,
    redis,
    bull,
    keys,
    hostId,
    store,
    queue,
    recover,
    runs,
    lease,
    wishes,
    counting = NO_COUNTING,
    clock,
    logger,
  } = deps;
  const removals = new RemovalJobs({
    redis: bull,
    keys,
    hostId,
    logger,
    onRemoval: (vmId) => runs.heedMark(vmId),
    onWish: deps.onWish,
  });
  const upkeep = new VmUpkeep({ redis, keys, keep: config.keep });
  const sweeper = new Sweeper({ store, upkeep, queue, logger, intervalMs: config.sweepMs, counting });
  const reaper = new Reaper({
    hosts: new HostRegistry({ redis, keys }),
    lostVms: new LostVms({ redis, keys, eventsMax: config.eventsMax, keep: config.keep }),
    counting,
    logger,
  });
  const strays = new StrayProcesses({ ...recover, launches: () => findLaunchesOf(config.stateDir) });
  const room = new RoomTeller({ runs, lease });
  const repeats = [
    new Repeat({ what: "telling the room", intervalMs: ROOM_TOLD_MS, step: () => room.step(), clock, logger }),
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
    new Repeat({
      what: "evacuating this host",
      intervalMs: EVACUATION_LOOK_MS,
      step: () => wishes.step(),
      clock,
      logger,
    }),
  ];
  const feeder = openBatchFeeder({ ...deps, keyRing: recover.keyRing, tracer: recover.tracer });
  sweeper.start();
  reaper.start();
  feeder.start();
  return {
    stop: async () => {
      await Promise.all([
        ...repeats.map((repeat) => repeat.stop()),
        sweeper.stop(),
        reaper.stop(),
        feeder.stop(),
        removals.close(),
      ]);
    },
  };
}
