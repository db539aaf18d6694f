import type { LaunchStore } from "../queue/launch-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { KeyRing } from "../runtime/key-ring.ts";
import type { GaugeReader } from "../runtime/metrics/meter.ts";
import { DROVER_VERSION } from "../runtime/version.ts";
import type { Breaker } from "./breaker.ts";
import type { FetchLoop } from "./fetch-loop.ts";
import type { GuardKeeper } from "./guard-keeper.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { Reconciler } from "./reconciler.ts";
import type { VmRuns } from "./vm-runs.ts";

/** The parts of a worker that say how it does. */
export interface WorkerParts {
  readonly hostId: string;
  readonly lease: Pick<LeaseKeeper, "isSurelyValid">;
  readonly guard: Pick<GuardKeeper, "isInTime" | "leftMs">;
  readonly loop: Pick<FetchLoop, "isTurning">;
  readonly rounds: Pick<Reconciler, "isCurrent">;
  readonly breaker: Pick<Breaker, "state">;
  readonly runs: Pick<VmRuns, "size" | "launching"> & {
    readonly deps: {
      readonly config: Pick<Config, "manager">;
      readonly keyRing: Pick<KeyRing, "current">;
      readonly launches: Pick<LaunchStore, "freePorts">;
    };
  };
  /** Ports that VMs may get. */
  readonly ports: number;
}

/** Why a worker does not do its work; empty while it does. Words for people, without names of VMs or hosts. */
export function healthProblems(parts: WorkerParts | undefined): readonly string[] {
  if (parts === undefined) return ["the worker is starting: it takes over what the one before has left"];
  const { lease, guard, loop } = parts;
  return [
    ...(loop.isTurning() ? [] : ["the loop that fetches VMs does not turn"]),
    ...(lease.isSurelyValid() ? [] : ["the lease of this host is not held: Redis is away, or another worker has it"]),
    ...(guard.isInTime ? [] : ["the guard's deadline has passed"]),
  ];
}

/** What a scrape shows of a worker; nothing but its version before it has started. */
export function workerGauges(parts: () => WorkerParts | undefined): GaugeReader {
  return (gauges) => {
    gauges.set("drover_build_info", { version: DROVER_VERSION, node: process.versions.node }, 1);
    const started = parts();
    if (started === undefined) return;
    const { hostId, lease, guard, loop, rounds, breaker, runs, ports } = started;
    const { config, keyRing, launches } = runs.deps;
    const { failures, openForMs } = breaker.state;
    const { maxVms } = config.manager;
    gauges.set("drover_worker_info", { host: hostId }, 1);
    gauges.set("drover_secret_keys", {}, keyRing.current?.byId.size ?? 0);
    gauges.set("drover_worker_turning", {}, loop.isTurning());
    gauges.set("drover_worker_lease_held", {}, lease.isSurelyValid());
    gauges.set("drover_worker_reconciled", {}, rounds.isCurrent);
    gauges.set("drover_worker_guard_left_seconds", {}, guard.leftMs === undefined ? undefined : guard.leftMs / 1_000);
    gauges.set("drover_worker_breaker_failures", {}, failures);
    gauges.set("drover_worker_breaker_open_seconds", {}, openForMs / 1_000);
    gauges.set("drover_worker_slots", {}, maxVms > 0 ? maxVms : undefined);
    gauges.set("drover_worker_slots_used", {}, runs.size);
    gauges.set("drover_worker_launching", {}, runs.launching);
    gauges.set("drover_worker_ports", {}, ports);
    gauges.set("drover_worker_ports_free", {}, launches.freePorts);
  };
}
