import type { HostRegistry } from "../queue/host-registry.ts";
import type { JobClaims } from "../queue/job-claims.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { Ownership } from "../queue/ownership.ts";
import type { VmStore } from "../queue/vm-store.ts";

/** What of Redis the worker uses for its VMs. The model test puts one in its place that loses and delays at will. */
export interface Stores {
  readonly launches: Pick<
    LaunchStore,
    "freePorts" | "countFreePorts" | "prepare" | "move" | "changePort" | "givePort" | "sealedSecrets" | "marked"
  >;
  readonly ownership: Pick<Ownership, "check" | "claim" | "reassert" | "note" | "snapshot">;
  readonly store: Pick<VmStore, "get" | "list" | "requestRemoval">;
  readonly claims: Pick<
    JobClaims,
    | "fetch"
    | "unknown"
    | "settledAs"
    | "nextDelayedAtMs"
    | "complete"
    | "fail"
    | "failForGood"
    | "giveBack"
    | "extendLocks"
  >;
  readonly hosts: Pick<HostRegistry, "liveHosts">;
}
