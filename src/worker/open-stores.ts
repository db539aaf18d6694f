import type { Logger } from "pino";
import type { RedisClient } from "../queue/connection.ts";
import type { HostRegistry } from "../queue/host-registry.ts";
import { JobClaims } from "../queue/job-claims.ts";
import { LaunchStore } from "../queue/launch-store.ts";
import { Ownership } from "../queue/ownership.ts";
import type { PortRange } from "../queue/port-slots.ts";
import type { RedisKeys } from "../queue/redis-keys.ts";
import { VmStore } from "../queue/vm-store.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Counting } from "../runtime/metrics/meter.ts";
import type { Scope } from "../runtime/scope.ts";
import type { HostState } from "./host-state.ts";
import { MeteredStores } from "./metered-stores.ts";
import type { Stores } from "./stores.ts";

export interface OpenStoresOptions {
  readonly redis: RedisClient;
  /** The connection of BullMQ's queues. */
  readonly bull: RedisClient;
  readonly keys: RedisKeys;
  readonly host: Pick<HostState, "hostId" | "bootId" | "tokenPrefix">;
  readonly hosts: HostRegistry;
  readonly range: PortRange;
  readonly eventsMax: number;
  readonly keep: Config["keep"];
  /** Called for a job that was fetched when nobody waited for it any more. */
  readonly onLate: () => void;
  readonly counting: Counting;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What of Redis the worker uses for its VMs; what goes through it is counted. Closed with the scope. */
export function openStores(scope: Scope, options: OpenStoresOptions) {
  const { redis, bull, keys, host, hosts, onLate, counting, clock, logger } = options;
  const parts = { ...options, bootId: host.bootId, tokenPrefix: host.tokenPrefix };
  const metered = new MeteredStores({ counting, clock });
  const claims = new JobClaims({ redis: bull, keys, hostId: host.hostId, logger, onLate });
  return {
    launches: metered.launches(new LaunchStore(parts)),
    ownership: metered.ownership(new Ownership(parts)),
    store: new VmStore({ ...parts, redis }),
    claims: metered.claims(scope.own(claims, (owned) => owned.close())),
    hosts,
  } satisfies Stores;
}
