import { Socket } from "node:net";
import { availableParallelism, cpus, hostname, release, uptime } from "node:os";
import type { Logger } from "pino";
import { type HostOffer, type ServedPools, servedPools } from "../contract/placement.ts";
import type { Tee } from "../contract/qemu-config.ts";
import { decideGpu, decideTee, describeTee, detectGpu, detectTee } from "../qemu/host-detection.ts";
import { detectMemoryBytes, detectTeeKeys } from "../qemu/host-memory.ts";
import { probeQemuVersion } from "../qemu/qemu-probe.ts";
import type { RedisClient } from "../queue/connection.ts";
import type { HostDescription } from "../queue/host-description.ts";
import type { RecordFields } from "../queue/launch-moves.ts";
import type { Config } from "../runtime/config-shape.ts";
import { cvmFactsOf } from "../runtime/cvm-facts.ts";
import { forwardBindOf } from "../runtime/forward-bind.ts";
import { DROVER_VERSION } from "../runtime/version.ts";
import type { HostState } from "./host-state.ts";
import { MemoryRoom, OWN_SIZE } from "./memory-room.ts";
import { UNWISHED } from "./wish-keeper.ts";

export interface DescribedHost {
  readonly host: HostDescription;
  readonly tee: Tee;
  /** PCI address of the GPU that one VM at a time gets, or false. */
  readonly gpu: string | false;
  /** The pools that it looks at always; `offer` says which others it can serve. */
  readonly served: ServedPools;
  readonly offer: HostOffer;
  readonly memory: MemoryRoom;
  /** How many confidential VMs the hardware has keys for; undefined: nobody knows. */
  readonly teeKeys: number | undefined;
  /** Address that forwarded ports are bound to; undefined: all interfaces, as Cocos does. */
  readonly forwardBind: string | undefined;
  /** What the record of every VM of this host says. */
  readonly recordFields: RecordFields;
}

/** Finds out what this host offers. Throws LaunchFailure `tee_unsupported` when a TEE is asked for that it lacks. */
export async function describeHost(options: {
  config: Config;
  host: HostState;
  redis: RedisClient;
  logger: Logger;
}): Promise<DescribedHost> {
  const { config, host, redis, logger } = options;
  const tee = decideTee(config.teeWish, detectTee());
  if (tee.note !== undefined) logger.warn({ tee: tee.kind, note: tee.note }, "the host's TEE is not used as detected");
  const forwardBind = forwardBindOf(config);
  const address = config.hostAddress ?? forwardBind ?? (await sourceAddress(redis)) ?? hostname();
  const teeText = describeTee(tee);
  const accel = config.qemu.enableKvm ? "kvm" : "tcg";
  const gpu = decideGpu(config.qemu.gpu.bdf, detectGpu());
  const memory = memoryOf(config, logger);
  const { pools, placement } = config;
  const classes = Object.fromEntries([...memory.classes].map(([name, { bytes }]) => [name, bytes]));
  const offer: HostOffer = {
    pools,
    hostId: host.hostId,
    tee: tee.kind,
    hasGpu: gpu !== false,
    ownSize: !memory.tooLarge.includes(OWN_SIZE),
    memoryClasses: Object.keys(classes),
    labels: placement.hostLabels,
  };
  const served = servedPools(offer);
  return {
    tee,
    gpu,
    served,
    offer,
    memory,
    teeKeys: detectTeeKeys(tee.kind),
    forwardBind,
    recordFields: { accel },
    host: {
      v: 1,
      hostId: host.hostId,
      stateId: host.stateId,
      bootId: host.bootId,
      pid: process.pid,
      version: DROVER_VERSION,
      address,
      pools: [...pools],
      serves: [...served.gpu, ...served.others],
      gpu: gpu === false ? null : gpu,
      offer: {
        tee: offer.tee,
        gpu: offer.hasGpu,
        ownSize: offer.ownSize,
        memoryClasses: classes,
        labels: { ...offer.labels },
      },
      memory: { totalBytes: memory.totalBytes, reservedBytes: memory.reservedBytes },
      slots: config.manager.maxVms,
      ports: config.qemu.hostFwdRange,
      tee: teeText,
      accel,
      cvm: cvmFactsOf(config),
      startedAtMs: Date.now(),
      policy: {
        lost: config.hostLost.policy,
        lostAfterMs: config.hostLost.afterMs,
        onPartition: config.hostLost.onPartition,
      },
      leaseMs: config.lease.ttlMs,
      breaker: null,
      machine: await describeMachine(config.qemu.binPath),
      wish: UNWISHED,
    },
  };
}

async function describeMachine(qemu: string): Promise<NonNullable<HostDescription["machine"]>> {
  return {
    cpu: cpus()[0]?.model.trim() ?? null,
    cores: availableParallelism(),
    kernel: release(),
    qemu: (await probeQemuVersion(qemu)) ?? null,
    bootedAtMs: Math.round(Date.now() - uptime() * 1000),
  };
}

/** Sizes that this machine can never hold are not offered; they are said, since nobody would see why VMs wait. */
function memoryOf(config: Config, logger: Logger): MemoryRoom {
  const memory = new MemoryRoom(config, detectMemoryBytes());
  const { totalBytes, reservedBytes, tooLarge } = memory;
  for (const name of tooLarge) {
    const what = name === OWN_SIZE ? "MANAGER_QEMU_MEMORY_SIZE" : `the memory class ${name}`;
    logger.error(
      { totalBytes, reservedBytes },
      `this machine cannot hold one VM of ${what}: it takes none of that size`,
    );
  }
  return memory;
}

/** The address of this machine that Redis sees: others of the fleet reach it there, most likely. */
async function sourceAddress(redis: RedisClient): Promise<string | undefined> {
  await redis.ping();
  const stream: unknown = redis.stream;
  return stream instanceof Socket ? stream.localAddress?.replace(/^::ffff:/, "") : undefined;
}
