import type { Logger } from "pino";
import { servedPools } from "../../../src/contract/placement.ts";
import type { LaunchProcess } from "../../../src/qemu/process-scan.ts";
import type { RedisClient } from "../../../src/queue/connection.ts";
import { RedisGeneration } from "../../../src/queue/generation.ts";
import type { HostDescription } from "../../../src/queue/host-description.ts";
import { HostRegistry } from "../../../src/queue/host-registry.ts";
import { JobClaims } from "../../../src/queue/job-claims.ts";
import { LaunchStore } from "../../../src/queue/launch-store.ts";
import { LostVms } from "../../../src/queue/lost-vms.ts";
import { openBatchFeeder } from "../../../src/queue/open-batch-feeder.ts";
import { Ownership } from "../../../src/queue/ownership.ts";
import { PoolNames } from "../../../src/queue/pool-names.ts";
import { PoolWaiter } from "../../../src/queue/pool-waiter.ts";
import { PortSlots } from "../../../src/queue/port-slots.ts";
import { Reaper } from "../../../src/queue/reaper.ts";
import type { RedisKeys } from "../../../src/queue/redis-keys.ts";
import { Sweeper } from "../../../src/queue/sweeper.ts";
import { VmQueue } from "../../../src/queue/vm-queue.ts";
import { VmStore } from "../../../src/queue/vm-store.ts";
import { VmUpkeep } from "../../../src/queue/vm-upkeep.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import type { Config } from "../../../src/runtime/config-shape.ts";
import { fixedKeys } from "../../../src/runtime/key-ring.ts";
import { Scope } from "../../../src/runtime/scope.ts";
import { NO_TRACER } from "../../../src/runtime/tracing/tracer.ts";
import { BootGate } from "../../../src/worker/boot-gate.ts";
import { Breaker } from "../../../src/worker/breaker.ts";
import { FailPoints } from "../../../src/worker/fail-points.ts";
import { FetchLoop } from "../../../src/worker/fetch-loop.ts";
import { GpuSlot } from "../../../src/worker/gpu-slot.ts";
import { LeaseKeeper } from "../../../src/worker/lease-keeper.ts";
import { MemoryRoom } from "../../../src/worker/memory-room.ts";
import { Mutex } from "../../../src/worker/mutex.ts";
import { PoolWatch } from "../../../src/worker/pool-watch.ts";
import { Reconciler } from "../../../src/worker/reconciler.ts";
import { type RecoverDeps, recoverLeftovers, recoverUnknownJobs } from "../../../src/worker/recover.ts";
import { Repeat } from "../../../src/worker/repeat.ts";
import { StrayProcesses } from "../../../src/worker/stray-processes.ts";
import { takeJob } from "../../../src/worker/take-job.ts";
import { VmRuns } from "../../../src/worker/vm-runs.ts";
import { WishKeeper } from "../../../src/worker/wish-keeper.ts";
import { WorkerStop } from "../../../src/worker/worker-stop.ts";
import { fakeClient } from "../redis/fake-client.ts";
import type { Network } from "./network.ts";
import { STATE_DIR, simFiles } from "./sim-files.ts";
import { simGuard } from "./sim-guard.ts";
import type { SimHost } from "./sim-host.ts";
import { simMachine } from "./sim-machine.ts";
import { storyLogger } from "./story-logger.ts";
import type { Actor } from "./world.ts";

/** As in `startWorker`. */
const START_MAX_MS = 120_000;
/** Room for more VMs than a host has slots. */
const MEMORY_BYTES = 2 ** 40;

export interface SimWorkerOptions {
  readonly host: SimHost;
  readonly network: Network;
  readonly keys: RedisKeys;
  readonly config: Config;
  readonly life: number;
  readonly feedsBatches: boolean;
}

/**
 * A worker's process: drover's own code, put together as `startWorker` does it, on a simulated host and network. What it
 * remembers dies with its actor.
 */
export class SimWorker {
  readonly actor: Actor;
  readonly #options: SimWorkerOptions;
  readonly #logger: Logger;
  #stop: WorkerStop | undefined;
  #runs: VmRuns | undefined;
  #tokens = 0;

  constructor(options: SimWorkerOptions) {
    const { host, life } = options;
    this.#options = options;
    this.actor = { name: `${host.hostId}/${life}`, isAlive: true, clock: host.clock, steps: 0 };
    this.#logger = storyLogger(host.world, this.actor);
  }

  /** Runs until it is stopped or its actor dies. A start that fails is tried again, as a service manager does. */
  async live(): Promise<void> {
    for (;;) {
      const scope = new Scope();
      try {
        return await this.#assemble(scope);
      } catch (error) {
        this.#logger.error({ err: error }, "the worker could not start");
        await scope.close();
        await systemClock.pause(1_000);
      }
    }
  }

  /** As SIGTERM: VMs run on. */
  async stop(): Promise<void> {
    await this.#stop?.stop("keep");
  }

  /** A removal job has come. */
  async hear(vmId: string): Promise<void> {
    await this.#runs?.heedMark(vmId);
  }

  async #assemble(scope: Scope): Promise<void> {
    const { host, keys, config } = this.#options;
    const { hostId, stateId, bootId } = host;
    const logger = this.#logger;
    const clock = systemClock; // whose time is the world's by now
    const failPoints = new FailPoints("", logger);
    const [redis, bull, leaseRedis, blocking] = [1, 2, 3, 4].map(() => this.#connect(scope)) as [
      RedisClient,
      RedisClient,
      RedisClient,
      RedisClient,
    ];
    const hosts = new HostRegistry({ redis: leaseRedis, keys });
    const lease = scope.own(
      await LeaseKeeper.take({ hosts, description: this.#description(), ...config.lease, clock, logger }),
      (keeper) => keeper.stop(),
    );
    const queue = scope.own(new VmQueue({ redis: bull, keys, logger }), (owned) => owned.close());
    const parts = {
      redis,
      keys,
      bootId,
      range: { ...config.qemu.hostFwdRange, reserved: [] },
      eventsMax: config.eventsMax,
      keep: config.keep,
    };
    let reconciler: Reconciler | undefined;
    const reconcileSoon = () => reconciler?.request();
    const stores = {
      launches: new LaunchStore(parts),
      ownership: new Ownership({ ...parts, tokenPrefix: `${hostId}:${stateId}:` }),
      store: new VmStore(parts),
      claims: scope.own(new JobClaims({ redis: bull, keys, hostId, logger, onLate: reconcileSoon }), (owned) =>
        owned.close(),
      ),
      hosts,
    };
    const guard = simGuard(host, config.hostLost, reconcileSoon);
    let loop: FetchLoop | undefined;
    let wishes: WishKeeper | undefined;
    const startedAtMs = clock.monotonicMs();
    const isTurning = () => loop?.isTurning() ?? clock.monotonicMs() - startedAtMs < START_MAX_MS;
    lease.start({
      isTurning,
      stamp: () => clock.monotonicMs(),
      onRenewed: (sinceMs) => void guard.noteRenewal(sinceMs),
      onWish: (wish) => wishes?.heed(wish),
    });
    const guardRepeat = new Repeat({
      what: "moving the guard's deadline",
      intervalMs: config.lease.renewMs,
      step: async () => (isTurning() || redis.status !== "ready" ? guard.noteTurn() : undefined),
      clock,
      logger,
    });
    scope.own(guardRepeat, (repeat) => repeat.stop());
    const leaving = new AbortController();
    const giveUp = new AbortController();
    const mutex = new Mutex();
    const breaker = new Breaker({ clock, onChanged: () => undefined });
    const runs: VmRuns = new VmRuns({
      ...stores,
      config: new Proxy(config, { get: (of, name) => (name === "manager" ? this.#manager() : Reflect.get(of, name)) }),
      clock,
      logger,
      mutex,
      breaker,
      failPoints,
      keyRing: fixedKeys(undefined),
      tracer: NO_TRACER,
      files: simFiles(host),
      machine: simMachine(host, this.actor),
      tee: { kind: "none" },
      gpu: new GpuSlot({ bdf: host.gpu, clock }),
      memory: new MemoryRoom(config, MEMORY_BYTES),
      address: "10.0.0.1",
      forwardBind: undefined,
      console: { append: async () => true },
      boots: new BootGate(config.maxBoots),
      leaving: leaving.signal,
      giveUp: giveUp.signal,
      mayLaunch: () => lease.isSurelyValid() && guard.isInTime,
    });
    const heeding = new WishKeeper({
      hostId,
      first: lease.firstWish,
      runs,
      hosts,
      publish: (wish) => lease.describe({ wish }),
      retell: (wish) => hosts.wish(hostId, wish),
      clock,
      logger,
    });
    wishes = heeding;
    const recover: RecoverDeps = {
      ...runs.deps,
      host: { hostId, stateId, bootId, tokenPrefix: `${hostId}:${stateId}:`, newToken: () => this.#newToken() },
      runs,
    };
    const generation = new RedisGeneration({ redis, keys, known: host.generation });
    await generation.remember();
    const rounds = new Reconciler({
      recover,
      mutex,
      ports: new PortSlots(parts),
      generation: {
        check: async () => {
          const verdict = await generation.check();
          host.generation = generation.known;
          return verdict;
        },
      },
      redisRun: async () => ({ id: /run_id:(\w+)/.exec(await redis.info("server"))?.[1] ?? "", upForMs: 3_600_000 }),
      hasOthers: async () => true,
      intervalMs: config.reconcileMs,
      logger,
    });
    reconciler = rounds;
    for (const client of [redis, bull]) {
      client.on("close", () => rounds.noteLoss());
      client.on("ready", () => rounds.request());
    }
    await stores.launches.countFreePorts();
    await recoverLeftovers(recover);
    await recoverUnknownJobs(recover);
    await rounds.round();
    const offer = {
      pools: config.pools,
      hostId,
      tee: "none",
      hasGpu: host.gpu !== false,
      ownSize: true,
      memoryClasses: [],
      labels: {},
    } as const;
    const fetching = new FetchLoop({
      pools: new PoolWatch({ offer, base: servedPools(offer), names: new PoolNames({ redis, keys }), clock }),
      fitting: (pools) => runs.fitting(pools),
      claims: stores.claims,
      waiter: new PoolWaiter({ redis: blocking, keys, hostId }),
      mutex,
      clock,
      logger,
      newToken: () => this.#newToken(),
      hasRoom: () =>
        runs.hasRoom() &&
        lease.isSurelyValid() &&
        guard.isInTime &&
        rounds.isCurrent &&
        breaker.allows(runs.launching) &&
        heeding.isOpen &&
        !leaving.signal.aborted,
      roomChanged: (signal) => runs.roomChanged(signal),
      take: async (job) => {
        const launch = await takeJob({ ...recover, hostFields: { accel: "kvm" } }, job);
        if (launch !== undefined) runs.start(launch);
      },
      strand: reconcileSoon,
    });
    const upkeep = new VmUpkeep({ redis, keys, keep: config.keep });
    const sweeper = new Sweeper({ store: stores.store, upkeep, queue, logger, intervalMs: config.sweepMs });
    const reaper = new Reaper({ hosts: new HostRegistry({ redis, keys }), lostVms: new LostVms(parts), logger });
    const strays = new StrayProcesses({ ...recover, launches: () => launchesOf(host) });
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
        intervalMs: config.reconcileMs,
        step: () => runs.refreshFreePorts(),
        clock,
        logger,
      }),
      new Repeat({ what: "evacuating this host", intervalMs: 1_000, step: () => heeding.step(), clock, logger }),
    ];
    const feeder = openBatchFeeder({
      config,
      redis,
      blocking: this.#connect(scope),
      keys,
      store: stores.store,
      queue,
      keyRing: fixedKeys(undefined),
      tracer: NO_TRACER,
      logger,
    });
    if (this.#options.feedsBatches) feeder.start();
    fetching.start();
    loop = fetching;
    rounds.start();
    sweeper.start();
    reaper.start();
    this.#runs = runs;
    const files = runs.deps.files;
    this.#stop = new WorkerStop({
      ...{
        hostId,
        config,
        loop: fetching,
        runs,
        lease,
        guard,
        files,
        clock,
        failPoints,
        leaving,
        giveUp,
        logger,
        scope,
      },
      closeRest: async () => {
        await Promise.all([...repeats, rounds, sweeper, reaper, feeder].map((running) => running.stop()));
      },
    });
    logger.info({ adopted: runs.size }, "worker started");
  }

  #connect(scope: Scope): RedisClient {
    const { host, network } = this.#options;
    return scope.own(fakeClient(network.open(this.actor, host.place, true)), (client) => client.disconnect());
  }

  #manager(): Config["manager"] {
    return { ...this.#options.config.manager, maxVms: this.#options.host.maxVms };
  }

  #newToken(): string {
    const { host, life } = this.#options;
    this.#tokens += 1;
    return `${host.hostId}:${host.stateId}:${host.bootId}:${life}-${this.#tokens}`;
  }

  #description(): HostDescription {
    const { host, config } = this.#options;
    const { policy: lost, afterMs: lostAfterMs, onPartition } = config.hostLost;
    return {
      v: 1,
      hostId: host.hostId,
      stateId: host.stateId,
      bootId: host.bootId,
      pid: 1,
      version: "0.0.0",
      address: "10.0.0.1",
      pools: [...config.pools],
      slots: host.maxVms,
      ports: config.qemu.hostFwdRange,
      tee: "none",
      accel: "kvm",
      startedAtMs: 0,
      policy: { lost, lostAfterMs, onPartition },
      leaseMs: config.lease.ttlMs,
      breaker: null,
    };
  }
}

function launchesOf(host: SimHost): readonly LaunchProcess[] {
  return host
    .living()
    .map(({ pid, startTimeTicks, vmId, epoch }) => ({ pid, startTimeTicks, uuid: vmId, epoch, stateDir: STATE_DIR }));
}
