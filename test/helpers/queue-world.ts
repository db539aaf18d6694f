import { randomUUID } from "node:crypto";
import { pino } from "pino";
import type { VmSpec } from "../../src/contract/vm-request.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { EventLog } from "../../src/queue/event-log.ts";
import { type ClaimedJob, JobClaims } from "../../src/queue/job-claims.ts";
import type { LaunchIdentity } from "../../src/queue/launch-moves.ts";
import { LaunchStore } from "../../src/queue/launch-store.ts";
import { PortSlots } from "../../src/queue/port-slots.ts";
import { VmQueue } from "../../src/queue/vm-queue.ts";
import { type AcceptInput, VmStore } from "../../src/queue/vm-store.ts";
import { VmUpkeep } from "../../src/queue/vm-upkeep.ts";
import { openRedisWorld } from "./redis-world.ts";

const HOUR_MS = 3_600_000;
export const KEEP = {
  completedMs: HOUR_MS,
  failedMs: HOUR_MS,
  failedSecretsMs: HOUR_MS,
  marksMs: HOUR_MS,
  idempotencyMs: HOUR_MS,
};
const EVENTS_MAX = 1_000_000;

/** Everything of src/queue on a key prefix of its own, as one host sees it. */
export function openQueueWorld(
  options: { hostId?: string; range?: { first: number; last: number; reserved: number[] }; keep?: typeof KEEP } = {},
) {
  const world = openRedisWorld();
  const { keys, url } = world;
  const logger = pino({ level: "silent" });
  const hostId = options.hostId ?? "host-a";
  const bootId = "boot-1";
  const keep = options.keep ?? KEEP;
  const range = options.range ?? { first: 6100, last: 6200, reserved: [] };
  const api = openRedis({ url, role: "worker", name: "test-bull", logger });
  const store = new VmStore({ redis: world.redis, keys, eventsMax: EVENTS_MAX, keep });
  const queue = new VmQueue({ redis: api, keys, logger });
  const claims = new JobClaims({ redis: api, keys, hostId, logger });
  const launches = new LaunchStore({ redis: world.redis, keys, bootId, range, eventsMax: EVENTS_MAX, keep });
  return {
    ...world,
    logger,
    hostId,
    store,
    queue,
    claims,
    launches,
    upkeep: new VmUpkeep({ redis: world.redis, keys, keep }),
    ports: new PortSlots({ redis: world.redis, keys, bootId, range }),
    events: new EventLog({ redis: world.redis, keys }),
    /** Accepts and enqueues a request; gives the vmId. */
    async submit(spec: VmSpec = {}, over: Partial<AcceptInput> = {}): Promise<string> {
      const input = acceptInput(spec, over);
      const { vmId } = await store.accept(input);
      const record = await store.get(vmId);
      if (record === undefined) throw new Error("no record after accept");
      await queue.enqueue(record);
      return vmId;
    },
    async fetch(token = `${hostId}:state:boot:${randomUUID()}`): Promise<ClaimedJob | undefined> {
      return claims.fetch("default", token);
    },
    identity(job: ClaimedJob): LaunchIdentity {
      return { vmId: job.vmId, pool: job.pool, priority: "normal", host: hostId, epoch: job.epoch, token: job.token };
    },
    async eventTypes(vmId: string): Promise<string[]> {
      const events = await new EventLog({ redis: world.redis, keys }).read({ after: "0", count: 1_000 });
      return events.filter(({ event }) => event.subject === vmId).map(({ event }) => event.type);
    },
    async [Symbol.asyncDispose]() {
      await claims.close();
      await queue.close();
      api.disconnect();
      await world[Symbol.asyncDispose]();
    },
  };
}

export function acceptInput(spec: VmSpec = {}, over: Partial<AcceptInput> = {}): AcceptInput {
  return {
    vmId: randomUUID(),
    owner: "local",
    digest: "digest-1",
    spec,
    sealedSecrets: undefined,
    pool: "default",
    priority: "normal",
    attempts: 3,
    queueTimeoutMs: undefined,
    idempotencyKey: undefined,
    ...over,
  };
}
