import { join } from "node:path";
import { SpareOverlay } from "../qemu/spare-overlay.ts";
import { removeEmptyVmDirectories } from "../qemu/vm-directory.ts";
import { openRedis } from "../queue/connection.ts";
import { HostRegistry } from "../queue/host-registry.ts";
import { LiveConsole } from "../queue/live-console.ts";
import { PoolNames } from "../queue/pool-names.ts";
import { PoolWaiter } from "../queue/pool-waiter.ts";
import { PortSlots } from "../queue/port-slots.ts";
import { redisKeys } from "../queue/redis-keys.ts";
import { checkRedisPolicy, redisRun } from "../queue/redis-policy.ts";
import { VmQueue } from "../queue/vm-queue.ts";
import { systemClock } from "../runtime/clock.ts";
import { guestsReachRedis } from "../runtime/config/connection-checks.ts";
import { reservedPorts } from "../runtime/config/reserved-ports.ts";
import { openKeyRing } from "../runtime/key-ring.ts";
import { Scope } from "../runtime/scope.ts";
import { NO_TRACING } from "../runtime/tracing/open-tracing.ts";
import { BootGate } from "./boot-gate.ts";
import { Breaker, publishedBreaker } from "./breaker.ts";
import { chooseConfinement, chooseLimits } from "./choose-confinement.ts";
import { describeHost } from "./describe-host.ts";
import { FailPoints } from "./fail-points.ts";
import { FetchLoop } from "./fetch-loop.ts";
import { GpuSlot } from "./gpu-slot.ts";
import { GuardKeeper } from "./guard-keeper.ts";
import { openHostState } from "./host-state.ts";
import { rememberGeneration } from "./known-generation.ts";
import { openAttestor } from "./launch-attestor.ts";
import { openEvidence } from "./launch-evidence.ts";
import { launchFiles } from "./launch-files.ts";
import { LeaseKeeper, type RenewalHooks } from "./lease-keeper.ts";
import { localMachine } from "./machine.ts";
import { Mutex } from "./mutex.ts";
import { openStores } from "./open-stores.ts";
import { PoolWatch } from "./pool-watch.ts";
import { Reconciler } from "./reconciler.ts";
import { type RecoverDeps, recoverLeftovers, recoverUnknownJobs } from "./recover.ts";
import { stayAlive } from "./stay-alive.ts";
import { takeJob } from "./take-job.ts";
import { startUpkeep } from "./upkeep.ts";
import { VmRuns } from "./vm-runs.ts";
import { WishKeeper } from "./wish-keeper.ts";
import type { WorkerOptions } from "./worker-options.ts";
import { type StartedWorker, WorkerStop } from "./worker-stop.ts";
import { WorkerWatch } from "./worker-watch.ts";

const START_MAX_MS = 120_000;

/**
 * Starts the worker of this host: takes over what the worker before it left, and returns once it fetches. Rejects with
 * the reason when it is abandoned; what it has taken is given back then. Throws `config_invalid` when the state directory, the host id, the listening addresses or the wished TEE cannot be had.
 */
export async function startWorker(options: WorkerOptions): Promise<StartedWorker> {
  const scope = new Scope();
  try {
    return await Promise.race([assemble(scope, options), abandoned(options.abandon)]);
  } catch (error) {
    await scope.close();
    throw error;
  }
}

/** Rejects when a start is given up; does nothing else. */
function abandoned(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

async function assemble(scope: Scope, options: WorkerOptions): Promise<StartedWorker> {
  const { config, logger, tracing = NO_TRACING } = options;
  const clock = systemClock;
  const keys = redisKeys(config.redis.prefix);
  const host = scope.own(
    await openHostState({ stateDir: config.stateDir, instanceId: config.manager.instanceId }),
    (state) => state[Symbol.asyncDispose](),
  );
  const confinement = await chooseConfinement(config, logger);
  const limiter = chooseLimits(config, host.stateDir, logger);
  const failPoints = scope.own(new FailPoints(config.failpoint, logger), (points) => points.release());
  const keyRing = scope.own(await openKeyRing({ secrets: config.secrets, logger }), (ring) => ring.stop());
  const watch = scope.own(await WorkerWatch.open(options), (opened) => opened.close());
  const connect = (role: "worker" | "blocking", name: string) =>
    scope.own(
      watch.timed(openRedis({ ...config.redis, role, name: `drover-${host.hostId}-${name}`, logger })),
      (client) => client.disconnect(),
    );
  const redis = connect("worker", "worker");
  const bull = connect("worker", "bull");
  const leaseRedis = connect("worker", "lease"); // of its own, so that a slow answer to others does not delay it
  const description = await describeHost({ config, host, redis, logger });
  const exposed = guestsReachRedis(config.redis.url) ?? [];
  for (const warning of [await checkRedisPolicy(redis), exposed].flat()) logger.warn(warning);

  const hosts = new HostRegistry({ redis: leaseRedis, keys });
  const lease = await LeaseKeeper.take({
    hosts,
    description: { ...description.host, metrics: watch.url(description.host.address) },
    ...config.lease,
    clock,
    logger,
  });
  scope.own(lease, (keeper) => keeper.stop());
  const queue = scope.own(new VmQueue({ redis: bull, keys, logger }), (owned) => owned.close());
  const range = { ...config.qemu.hostFwdRange, reserved: reservedPorts(config) };
  const parts = { redis, keys, bootId: host.bootId, range, eventsMax: config.eventsMax, keep: config.keep };
  let reconciler: Reconciler | undefined;
  const reconcileSoon = () => reconciler?.request();
  const counting = watch.meter;
  const stores = openStores(scope, { ...parts, bull, host, hosts, onLate: reconcileSoon, counting, clock, logger });
  const patience = { policy: config.hostLost, renewMs: config.lease.renewMs };
  const guard = await GuardKeeper.open({ host, ...patience, logger, onLate: reconcileSoon });
  // Taking over hundreds of VMs may take longer than a lease; a start that hangs must not hold one for ever.
  let loop: FetchLoop | undefined;
  let wishes: WishKeeper | undefined;
  const startedAtMs = clock.monotonicMs();
  const isTurning = () => loop?.isTurning() ?? clock.monotonicMs() - startedAtMs < START_MAX_MS;
  const files = launchFiles({ stateDir: host.stateDir, diskFormat: config.qemu.disk.format });
  const onWish: RenewalHooks["onWish"] = (wish) => wishes?.heed(wish);
  stayAlive(scope, { config, redis, lease, guard, files, clock, logger, isTurning, onWish });

  const leaving = new AbortController();
  const giveUp = new AbortController();
  scope.own([leaving, giveUp], (controllers) => {
    for (const controller of controllers) controller.abort(); // what a start that failed has taken over is left as it is
  });
  const mutex = new Mutex();
  const breaker = new Breaker({
    clock,
    onChanged: (state) => lease.describe({ breaker: publishedBreaker(state, clock.nowMs()) }),
  });
  const runs: VmRuns = new VmRuns({
    ...stores,
    config,
    clock,
    logger,
    mutex,
    breaker,
    failPoints,
    keyRing,
    tracer: tracing.tracer({ role: "worker", hostId: host.hostId }),
    files,
    machine: localMachine({
      config,
      stateDir: host.stateDir,
      confinement,
      limiter,
      disks: scope.own(await SpareOverlay.open(join(host.stateDir, "spare")), (owned) => owned.close()),
    }),
    tee: description.tee,
    teeKeys: description.teeKeys,
    memory: description.memory,
    evidence: openEvidence(scope, { config, tee: description.tee, launches: stores.launches, logger }),
    gpu: new GpuSlot({ bdf: description.gpu, clock }),
    attestor: openAttestor(scope, { config, tee: description.tee, stateDir: host.stateDir, clock, logger }),
    address: description.host.address,
    forwardBind: description.forwardBind,
    console: new LiveConsole({ redis, keys }),
    boots: new BootGate(config.maxBoots),
    leaving: leaving.signal,
    giveUp: giveUp.signal,
    mayLaunch: () => lease.isSurelyValid() && guard.isInTime,
  });
  const heeding = new WishKeeper({
    hostId: host.hostId,
    first: lease.firstWish,
    runs,
    hosts,
    publish: (wish) => lease.describe({ wish }),
    retell: (wish) => hosts.wish(host.hostId, wish),
    clock,
    logger,
  });
  wishes = heeding;
  const recover: RecoverDeps = { ...runs.deps, host, runs };
  reconciler = new Reconciler({
    recover,
    mutex,
    ports: new PortSlots(parts),
    generation: await rememberGeneration({ redis, keys, stateDir: host.stateDir }),
    redisRun: () => redisRun(redis),
    hasOthers: async () => (await hosts.hosts()).some(({ hostId }) => hostId !== host.hostId),
    intervalMs: config.reconcileMs,
    counting,
    logger,
  });
  const rounds = reconciler;
  for (const client of [redis, bull]) {
    client.on("close", () => rounds.noteLoss());
    client.on("ready", () => rounds.request());
  }
  await stores.launches.countFreePorts();
  await removeEmptyVmDirectories(host.stateDir);
  await recoverLeftovers(recover);
  await recoverUnknownJobs(recover);
  await rounds.round();

  const fetching = new FetchLoop({
    pools: new PoolWatch({ ...description, base: description.served, names: new PoolNames({ redis, keys }), clock }),
    fitting: (pools) => runs.fitting(pools),
    claims: stores.claims,
    waiter: new PoolWaiter({ redis: connect("blocking", "wait"), keys, hostId: host.hostId }),
    mutex,
    clock,
    logger,
    newToken: host.newToken,
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
      const launch = await takeJob({ ...recover, hostFields: description.recordFields }, job);
      if (launch !== undefined) runs.start(launch);
    },
    strand: reconcileSoon,
  });
  fetching.start();
  loop = fetching;
  rounds.start();
  const upkeep = startUpkeep({
    config,
    redis,
    bull,
    blocking: connect("blocking", "batches"),
    keys,
    hostId: host.hostId,
    store: stores.store,
    queue,
    recover,
    runs,
    lease,
    wishes: heeding,
    onWish: () => lease.renewSoon(),
    counting,
    clock,
    logger,
  });
  const ports = range.last - range.first + 1 - range.reserved.length;
  watch.begin({ hostId: host.hostId, lease, guard, loop, rounds, breaker, runs, ports });
  logger.info({ host: description.host, adopted: runs.size }, "worker started");

  return new WorkerStop({
    hostId: host.hostId,
    config,
    loop: fetching,
    runs,
    lease,
    guard,
    files: runs.deps.files,
    clock,
    failPoints,
    leaving,
    giveUp,
    logger,
    closeRest: async () => {
      await Promise.all([rounds.stop(), upkeep.stop()]);
    },
    scope,
  });
}
