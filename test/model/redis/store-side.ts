import { pino } from "pino";
import { BatchFeeding } from "../../../src/queue/batch-feeding.ts";
import { BatchStore } from "../../../src/queue/batch-store.ts";
import { BatchUpkeep } from "../../../src/queue/batch-upkeep.ts";
import type { RedisClient } from "../../../src/queue/connection.ts";
import { FailureStore } from "../../../src/queue/failure-store.ts";
import { RedisGeneration } from "../../../src/queue/generation.ts";
import { HostRegistry } from "../../../src/queue/host-registry.ts";
import { type ClaimedJob, JobClaims } from "../../../src/queue/job-claims.ts";
import type { LaunchIdentity } from "../../../src/queue/launch-moves.ts";
import { LaunchStore } from "../../../src/queue/launch-store.ts";
import { LiveConsole } from "../../../src/queue/live-console.ts";
import { LostVms, type SeenVm } from "../../../src/queue/lost-vms.ts";
import { type LiveLaunch, type LiveState, Ownership } from "../../../src/queue/ownership.ts";
import { PortSlots } from "../../../src/queue/port-slots.ts";
import type { RedisKeys } from "../../../src/queue/redis-keys.ts";
import { VmQueue } from "../../../src/queue/vm-queue.ts";
import { VmStore } from "../../../src/queue/vm-store.ts";
import { VmUpkeep } from "../../../src/queue/vm-upkeep.ts";
import { batchIdOf, vmIdOfItem } from "../../../src/runtime/batch-id.ts";
import { fixedKeys } from "../../../src/runtime/key-ring.ts";
import { KEEP } from "../../helpers/queue-world.ts";
import type { Transport } from "./fake-client.ts";
import type { FakeRedis } from "./fake-redis.ts";

/** The one batch of a list of operations, and how many items it has. */
export const BATCH_KEY = "a key";
export const BATCH_ID = batchIdOf(`local\0${BATCH_KEY}`);
export const BATCH_ITEMS = 3;
/** Two VMs of their own, and those of the batch. */
export const VM_IDS = [
  ...[1, 2].map((n) => `0000000${n}-0000-4000-8000-000000000000`),
  ...Array.from({ length: BATCH_ITEMS }, (_none, index) => vmIdOfItem(BATCH_ID, index)),
];
export const HOST_IDS = ["host-a", "host-b"] as const;
const EVENTS_MAX = 1_000_000;

/** A launch as an operation finds it: what was fetched last of a VM by a host, under the token that it has now. */
export interface KnownLaunch {
  readonly job: ClaimedJob;
  token: string;
  port: number | undefined;
  state: LiveState;
  snapshot: Readonly<Record<string, string>> | undefined;
}

/** Everything of src/queue on one Redis, with the memory that a list of operations needs. */
export type StoreSide = ReturnType<typeof openStoreSide>;

export function openStoreSide({ redis, bull, keys }: { redis: RedisClient; bull: RedisClient; keys: RedisKeys }) {
  const logger = pino({ level: "silent" });
  const common = { redis, keys, eventsMax: EVENTS_MAX, keep: KEEP };
  const hosts = HOST_IDS.map((hostId) => {
    const range = { first: 6100, last: 6102, reserved: [] };
    const parts = { ...common, bootId: `boot-${hostId}`, range };
    return {
      hostId,
      stateId: `state-${hostId}`,
      bootId: `boot-${hostId}`,
      tokenPrefix: `${hostId}:state-${hostId}:`,
      launches: new LaunchStore(parts),
      ownership: new Ownership({ ...parts, tokenPrefix: `${hostId}:state-${hostId}:` }),
      ports: new PortSlots(parts),
      claims: new JobClaims({ redis: bull, keys, hostId, logger }),
    };
  });
  const store = new VmStore(common);
  const queue = new VmQueue({ redis: bull, keys, logger });
  const feeding = new BatchFeeding({ redis, keys, store, queue, keyRing: fixedKeys(undefined), windowItems: 2 });
  return {
    redis,
    keys,
    hosts,
    batches: new BatchStore({ redis, keys }),
    feeding,
    batchUpkeep: new BatchUpkeep({ redis, keys, feeding, logger, keep: KEEP, keepMs: 0, recountMs: 0 }),
    registry: new HostRegistry({ redis, keys }),
    lostVms: new LostVms(common),
    store,
    failures: new FailureStore(common),
    queue,
    upkeep: new VmUpkeep(common),
    console: new LiveConsole({ redis, keys }),
    generation: new RedisGeneration({ redis, keys }),
    /** By `host/vmId`. */
    launches: new Map<string, KnownLaunch>(),
    seen: [] as readonly SeenVm[],
    tokens: 0,
    async close(): Promise<void> {
      await Promise.all(hosts.map(({ claims }) => claims.close()));
      await this.queue.close();
    },
  };
}

export function identityOf(hostId: string, { job, token }: KnownLaunch): LaunchIdentity {
  return { vmId: job.vmId, pool: job.pool, priority: "normal", host: hostId, epoch: job.epoch, token };
}

export function liveOf(hostId: string, launch: KnownLaunch): LiveLaunch {
  const { job, port, state, snapshot } = launch;
  const data = job.data.ok
    ? job.data.value
    : { v: 1 as const, vmId: job.vmId, owner: "local", pool: "default", spec: {} };
  return {
    identity: identityOf(hostId, launch),
    state,
    port,
    snapshot,
    fields: { port: port === undefined ? null : String(port), address: "10.0.0.1" },
    job: data,
    deadlineAtMs: undefined,
  };
}

/** Answers at once, without a network between. */
export function directTransport(server: FakeRedis): Transport {
  return {
    status: "ready",
    send: async (command) => server.execute(command),
    disconnect: () => undefined,
    duplicate: () => directTransport(server),
  };
}
