import { Socket } from "node:net";
import { hostname } from "node:os";
import type { Logger } from "pino";
import { type ServedPools, servedPools } from "../contract/placement.ts";
import type { Tee } from "../contract/qemu-config.ts";
import { decideGpu, decideTee, describeTee, detectGpu, detectTee } from "../qemu/host-detection.ts";
import type { RedisClient } from "../queue/connection.ts";
import type { HostDescription } from "../queue/host-registry.ts";
import type { RecordFields } from "../queue/launch-moves.ts";
import type { Config } from "../runtime/config-shape.ts";
import { cvmFactsOf } from "../runtime/cvm-facts.ts";
import { forwardBindOf } from "../runtime/forward-bind.ts";
import { DROVER_VERSION } from "../runtime/version.ts";
import type { HostState } from "./host-state.ts";

export interface DescribedHost {
  readonly host: HostDescription;
  readonly tee: Tee;
  /** PCI address of the GPU that one VM at a time gets, or false. */
  readonly gpu: string | false;
  readonly served: ServedPools;
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
  const { pools } = config;
  const served = servedPools({ pools, hostId: host.hostId, tee: tee.kind, hasGpu: gpu !== false });
  return {
    tee,
    gpu,
    served,
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
    },
  };
}

/** The address of this machine that Redis sees: others of the fleet reach it there, most likely. */
async function sourceAddress(redis: RedisClient): Promise<string | undefined> {
  await redis.ping();
  const stream: unknown = redis.stream;
  return stream instanceof Socket ? stream.localAddress?.replace(/^::ffff:/, "") : undefined;
}
