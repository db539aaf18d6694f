/**
 * How long a single VM of one owner waits behind the many of others: how many are launched before it, and after what
 * time at the pace of one host that does nothing but fetch and prepare. All through drover's own scripts and BullMQ.
 *
 *     npm run bench:fair -- [--vms 100000] [--owners 1]
 */
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { openRedis } from "../src/queue/connection.ts";
import { JobClaims } from "../src/queue/job-claims.ts";
import { LaunchStore } from "../src/queue/launch-store.ts";
import { redisKeys } from "../src/queue/redis-keys.ts";
import { VmQueue } from "../src/queue/vm-queue.ts";
import { VmStore } from "../src/queue/vm-store.ts";
import { startRedis } from "../test/helpers/redis-server.ts";

const AT_ONCE = 500;
/** Some of the many have been launched already when the single one comes, as in life. */
const LAUNCHED_BEFORE = 50;
const KEEP_MS = 3_600_000;
const HOST = "bench-host";

const { values } = parseArgs({
  options: { vms: { type: "string", default: "100000" }, owners: { type: "string", default: "1" } },
});
const vms = Number(values.vms);
const owners = Number(values.owners);

await using server = await startRedis({ local: true });
const logger = pino({ level: "silent" });
const keys = redisKeys("{bench}");
const open = (name: string) => openRedis({ url: server.url, role: "worker", name, logger });
const [redis, bull] = [open("bench"), open("bench-bull")];
const keep = {
  completedMs: KEEP_MS,
  failedMs: KEEP_MS,
  failedSecretsMs: KEEP_MS,
  marksMs: KEEP_MS,
  idempotencyMs: KEEP_MS,
};
const parts = { redis, keys, eventsMax: 1_000, keep };
const store = new VmStore(parts);
const queue = new VmQueue({ redis: bull, keys, logger });
const claims = new JobClaims({ redis: bull, keys, hostId: HOST, logger });
const range = { first: 1, last: 60_000, reserved: [] };
const launches = new LaunchStore({ ...parts, bootId: "boot", range });

async function submit(count: number, ownerOf: (index: number) => string): Promise<readonly string[]> {
  const vmIds: string[] = [];
  for (let at = 0; at < count; at += AT_ONCE) {
    const accepted = await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - at) }, (_, index) =>
        store.accept({
          vmId: randomUUID(),
          owner: ownerOf(at + index),
          digest: "digest",
          spec: {},
          sealedSecrets: undefined,
          pool: "default",
          priority: "normal",
          attempts: 3,
          queueTimeoutMs: undefined,
          idempotencyKey: undefined,
        }),
      ),
    );
    const records = accepted.flatMap(({ record }) => record ?? []);
    await queue.enqueueAll(records);
    vmIds.push(...records.map(({ vmId }) => vmId));
  }
  return vmIds;
}

/** Fetches and prepares the next VM, as a host does, and says which it is. */
async function launchNext(): Promise<string | undefined> {
  const job = await claims.fetch("default", `${HOST}:state:boot:${randomUUID()}`);
  if (job === undefined) return undefined;
  const { vmId, pool, epoch, token } = job;
  await launches.prepare({ vmId, pool, priority: "normal", host: HOST, epoch, token }, {});
  return vmId;
}

const begunMs = performance.now();
await submit(vms, (index) => `big-${index % owners}`);
const acceptedMs = performance.now() - begunMs;
const launchedFromMs = performance.now();
for (let i = 0; i < LAUNCHED_BEFORE; i++) await launchNext();
const paceMs = (performance.now() - launchedFromMs) / LAUNCHED_BEFORE;

const [single] = await submit(1, () => "single");
const waitsMs = performance.now();
let before = 0;
for (let vmId = await launchNext(); vmId !== single; vmId = await launchNext()) {
  if (vmId === undefined) throw new Error("the single VM is not in the queue");
  before += 1;
}
const waitedMs = performance.now() - waitsMs;
console.info(
  `${vms} VMs of ${owners} ${owners === 1 ? "owner" : "owners"} accepted and queued in ${(acceptedMs / 1_000).toFixed(1)} s`,
);
console.info(`a single VM of another owner comes then: ${before} are launched before it, ${waitedMs.toFixed(1)} ms`);
console.info(
  `first come, first served: ${vms - LAUNCHED_BEFORE} before it, about ${(((vms - LAUNCHED_BEFORE) * paceMs) / 1_000).toFixed(0)} s at this pace`,
);

await claims.close();
await queue.close();
for (const client of [redis, bull]) client.disconnect();
