import { pino } from "pino";
import { expect, test, vi } from "vitest";
import { startApi } from "../../src/producer/start-api.ts";
import { BatchStore } from "../../src/queue/batch-store.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { EventLog } from "../../src/queue/event-log.ts";
import { RedisGeneration } from "../../src/queue/generation.ts";
import { JobClaims } from "../../src/queue/job-claims.ts";
import { LaunchStore } from "../../src/queue/launch-store.ts";
import { LiveConsole } from "../../src/queue/live-console.ts";
import { PoolWaiter } from "../../src/queue/pool-waiter.ts";
import { redisKeys } from "../../src/queue/redis-keys.ts";
import { checkRedisPolicy } from "../../src/queue/redis-policy.ts";
import { RemovalJobs } from "../../src/queue/removal-jobs.ts";
import { VmUpkeep } from "../../src/queue/vm-upkeep.ts";
import { loadConfig } from "../../src/runtime/config/load-config.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { COMMIT } from "../helpers/batch-world.ts";
import { startCluster } from "../helpers/cluster.ts";
import { KEEP } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { testConfig } from "./http-world.ts";

const PREFIX = "{cluster}";
const keys = redisKeys(PREFIX);
const logger = pino({ level: "silent" });
const keep = { ...KEEP, completedMs: 0 };

test("the main path works on a cluster of three nodes", async () => {
  await using scope = new Scope();
  const cluster = scope.own(await startCluster(), (started) => started[Symbol.asyncDispose]());
  const open = (role: "worker" | "blocking", name: string) =>
    scope.own(openRedis({ url: cluster.url, role, name, logger }), (client) => client.disconnect());
  const redis = open("worker", "worker");
  expect(await checkRedisPolicy(redis)).toEqual([expect.stringContaining("append-only")]);
  const config = testConfig({ url: cluster.url, prefix: PREFIX, env: { DROVER_KEEP_COMPLETED: "1ms" } });
  const api = scope.own(await startApi({ config, logger }), (running) => running.close());
  const call = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${api.url}${path}`, init);
    return { status: response.status, body: (await response.json()) as { id: string; state: string } };
  };
  const post = (path: string, body?: string) =>
    call(path, { method: "POST", ...(body && { body, headers: { "content-type": "application/json" } }) });
  const claims = scope.own(new JobClaims({ redis, keys, hostId: "host-a", logger }), (owned) => owned.close());
  const range = { first: 6100, last: 6200, reserved: [] };
  const launches = new LaunchStore({ redis, keys, bootId: "b", range, eventsMax: 1_000, keep });
  const liveConsole = new LiveConsole({ redis, keys });
  const onRemoval = vi.fn(async (_vmId: string) => undefined);
  scope.own(new RemovalJobs({ redis, keys, hostId: "host-a", logger, onRemoval, onWish: () => undefined }), (owned) =>
    owned.close(),
  );
  const waiter = new PoolWaiter({ redis: open("blocking", "wait"), keys, hostId: "host-a" });
  const generation = new RedisGeneration({ redis, keys });
  await generation.remember();

  await waitFor(async () => (await call("/ready")).status === 200, { what: "the API to be ready" });
  const waiting = waiter.wait(["default", "other"], 5_000);
  const submitted = await waitFor(async () => {
    const answer = await post("/v1/vms", "{}");
    return answer.status === 202 ? answer.body : undefined;
  });
  expect(await waiting).toBe("work");
  const vmId = submitted.id;
  const job = await waitFor(() => claims.fetch("default", "host-a:s:b:1"));
  const launch = { vmId, pool: "default", priority: "normal", host: "host-a", epoch: 1, token: job.token } as const;
  expect(await launches.prepare(launch, {})).toMatchObject({ kind: "prepared", port: 6100 });
  expect(await launches.changePort(launch, 6100, 60_000)).toBe(6101);
  const starting = { type: "vm.starting", data: { host: "host-a", epoch: 1, port: 6101, pid: 4 } } as const;
  expect(await launches.move(launch, { to: "starting", event: starting, progress: {} })).toBe("done");
  await liveConsole.append({ vmId, token: job.token, data: Buffer.from("hello"), skippedBytes: 0 });
  expect((await liveConsole.read(vmId))?.data.toString()).toBe("hello");
  const cause = { code: "guest_panic", message: "" } as const;
  const failed = { type: "vm.failed", data: { cause, attempt: 1, host: "host-a", epoch: 1, exitCode: null } } as const;
  const leave = { box: "delete", tail: undefined, final: true, keepMs: 60_000 } as const;
  expect(await launches.move(launch, { to: "failed", event: failed, progress: {}, leave })).toBe("done");
  await claims.failForGood(job, { message: "guest_panic", story: "" });
  expect((await post(`/v1/vms/${vmId}/retry`)).body.state).toBe("queued");

  const again = await waitFor(() => claims.fetch("default", "host-a:s:b:2"));
  expect(again).toMatchObject({ vmId, epoch: 2 });
  await claims.extendLocks([again]);
  expect(await claims.unknown("host-a:s:", () => false)).toHaveLength(1);
  await call(`/v1/vms/${vmId}`, { method: "DELETE" });
  await waitFor(() => onRemoval.mock.calls.some(([told]) => told === vmId), { what: "the host to hear of it" });
  expect((await launches.prepare({ ...launch, epoch: 2, token: again.token }, {})).kind).toBe("marked");
  await claims.complete(again, { outcome: "removed" });
  const events = await new EventLog({ redis, keys }).read({ after: "0", count: 100 });
  expect(events.filter(({ event }) => event.subject === vmId).map(({ event }) => event.type.slice(3))).toEqual([
    ...["queued", "preparing", "port_changed", "starting", "failed", "queued", "removal_requested", "removed"],
  ]);
  const upkeep = new VmUpkeep({ redis, keys, keep });
  await waitFor(async () => (await upkeep.purgeExpired(10)) >= 0 && (await redis.exists(keys.record(vmId))) === 0);
  const batches = new BatchStore({ redis, keys });
  const { batchId } = await uploadBatch(batches);
  const counts = async () => (await batches.get(batchId))?.counts;
  await waitFor(async () => (await counts())?.queued === 2, { what: "the API to feed the batch" });
  const ofBatch = await waitFor(() => claims.fetch("default", "host-a:s:b:3"));
  const third = { ...launch, vmId: ofBatch.vmId, token: ofBatch.token };
  expect(await launches.prepare(third, {})).toMatchObject({ kind: "prepared" });
  await launches.move(third, { to: "failed", event: failed, progress: {}, leave });
  await claims.failForGood(ofBatch, { message: "guest_panic", story: "" });
  await waitFor(async () => (await counts())?.listed === 0, { what: "the third item to be fed" });
  expect(await batches.retryFailed(batchId)).toMatchObject({ retried: 1 });
  expect(await batches.cancel(batchId, "me")).toBe("cancelling");
  await waitFor(async () => (await batches.get(batchId))?.state === "ended", { what: "the batch to end" });
  expect(await generation.check()).toBe("same");
});

async function uploadBatch(batches: BatchStore): Promise<{ batchId: string }> {
  const upload = batches.newUpload({ owner: "local", idempotencyKey: undefined });
  for (let line = 1; line <= 3; line++) await upload.add({ line, spec: {} });
  expect(await upload.commit({ ...COMMIT, maxParallel: 2 })).toMatchObject({ kind: "accepted" });
  return upload;
}

test("a prefix that would spread the keys over a cluster is refused at the start", () => {
  const load = () => loadConfig({ DROVER_REDIS_PREFIX: "drover", DROVER_STATE_DIR: "/tmp/d" });
  expect(load).toThrow(/DROVER_REDIS_PREFIX/);
});
