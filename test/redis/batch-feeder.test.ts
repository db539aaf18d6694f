import { randomBytes } from "node:crypto";
import { pino } from "pino";
import { expect, test } from "vitest";
import { BatchFeeder } from "../../src/queue/batch-feeder.ts";
import { BatchFeeding } from "../../src/queue/batch-feeding.ts";
import type { RedisClient } from "../../src/queue/connection.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { SealedBoxes } from "../../src/queue/sealed-boxes.ts";
import { VmQueue } from "../../src/queue/vm-queue.ts";
import { VmStore } from "../../src/queue/vm-store.ts";
import { itemOfVmId, vmIdOfItem } from "../../src/runtime/batch-id.ts";
import { fixedKeys, type KeyRing } from "../../src/runtime/key-ring.ts";
import { openSealed, sealSecrets } from "../../src/runtime/sealing.ts";
import { parseSecretKeys } from "../../src/runtime/secret-keys.ts";
import { type BatchWorld, COMMIT, openBatchWorld } from "../helpers/batch-world.ts";
import { KEEP } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";

const secretKeys = (ids: readonly string[]) =>
  parseSecretKeys(ids.map((id) => `${id}:${randomBytes(32).toString("base64")}`).join(","), "test");

function startFeeder(world: BatchWorld, { roundMs = 60_000 } = {}) {
  const { keys, feeding, upkeep, logger, url } = world;
  const redis = openRedis({ url, role: "blocking", name: "test-feeder", logger });
  const keyRing = fixedKeys(undefined);
  const feeder = new BatchFeeder({ redis, keys, feeding, upkeep, keyRing, logger, roundMs });
  feeder.start();
  return { [Symbol.asyncDispose]: () => feeder.stop() };
}

/** Runs VMs until the batch has ended; gives how often each was launched. */
async function runToEnd(world: BatchWorld, batchId: string): Promise<Map<string, number>> {
  const launched = new Map<string, number>();
  await waitFor(
    async () => {
      for (let job = await world.fetch(); job !== undefined; job = await world.fetch()) {
        if (await world.run(job, "completed")) launched.set(job.vmId, (launched.get(job.vmId) ?? 0) + 1);
      }
      return (await world.batch(batchId)).state === "ended";
    },
    { timeoutMs: 15_000, what: "the batch to end" },
  );
  return launched;
}

test("two feeders at once lose no item, make none twice and never open more places than the batch has", async () => {
  await using world = openBatchWorld();
  const { batchId } = await world.upload(600, { maxParallel: 37 });
  await using _one = startFeeder(world);
  await using _two = startFeeder(world);
  let most = 0;
  const watching = new AbortController();
  const watched = (async () => {
    while (!watching.signal.aborted) most = Math.max(most, (await world.batch(batchId)).live);
  })();
  const launched = await runToEnd(world, batchId);
  watching.abort();
  await watched;
  expect([...launched.values()].every((count) => count === 1)).toBe(true);
  expect(launched.size).toBe(600);
  expect(most).toBeLessThanOrEqual(37);
  expect(most).toBeGreaterThan(30);
  expect(await world.batch(batchId)).toMatchObject({ outcome: "completed", counts: { completed: 600 } });
});

test("a feeder that dies between any two commands costs no item: the next one goes on", async () => {
  let cuts = 0;
  for (let survived = false; !survived; cuts++) {
    await using world = openBatchWorld();
    const { batchId } = await world.upload(3);
    const redis = dyingAfter(world.redis, cuts);
    const { keys, logger } = world;
    const store = new VmStore({ redis, keys, eventsMax: 1_000, keep: KEEP });
    const queue = new VmQueue({ redis, keys, logger });
    const dying = new BatchFeeding({ redis, keys, store, queue, keyRing: fixedKeys(undefined), windowItems: 2 });
    survived = await dying.step(batchId).then(
      () => true,
      () => false,
    );
    await world.redis.del(keys.dueBatches); // the dead one had taken the word of it
    await world.upkeep.round();
    expect(await world.redis.zcard(keys.dueBatches)).toBe(1);
    for (let ended = false; !ended; ended = (await world.batch(batchId)).state === "ended") {
      await world.feed(batchId);
      // What a sweeper does with VMs whose job was not added.
      for (const vmId of await world.upkeepOfVms.pendingJobs({ ageMs: 0, count: 10 })) {
        const record = await world.store.get(vmId);
        if (record !== undefined) await world.queue.enqueue(record);
      }
      await world.runAll();
    }
    expect(await world.batch(batchId)).toMatchObject({ counts: { completed: 3 } });
    for (const index of [0, 1, 2]) expect((await world.store.get(vmIdOfItem(batchId, index)))?.epoch).toBe(1);
  }
  expect(cuts).toBeGreaterThan(5);
}, 30_000);

test("with so many failed VMs nothing further is launched: what is listed is skipped, what waits is removed", async () => {
  await using world = openBatchWorld({ windowItems: 6 });
  const { batchId } = await world.upload(20, { stopAfterFailures: 2 });
  await world.feed(batchId);
  const jobs = [await world.fetch(), await world.fetch(), await world.fetch()];
  const [first, second, third] = jobs;
  if (first === undefined || second === undefined || third === undefined) throw new Error("nothing to fetch");
  const running = await world.launches.prepare(world.identity(third), {});
  expect(running.kind).toBe("prepared");
  await world.run(first, "failed");
  expect(await world.batch(batchId)).toMatchObject({ state: "active" });
  await world.run(second, "failed");
  expect(await world.batch(batchId)).toMatchObject({ state: "stopping", counts: { listed: 0, skipped: 14 } });
  await world.feed(batchId);
  // What a host has goes on.
  expect(await world.batch(batchId)).toMatchObject({ counts: { removed: 3, preparing: 1, failed: 2 } });
  const { host, epoch } = world.identity(third);
  await world.launches.move(world.identity(third), {
    to: "starting",
    event: { type: "vm.starting", data: { host, epoch, port: 1, pid: 1 } },
    progress: {},
  });
  await world.launches.move(world.identity(third), {
    to: "completed",
    event: { type: "vm.completed", data: { host, epoch, reason: "guest_shutdown", exitCode: 0 } },
    progress: {},
    leave: { box: "delete", tail: undefined, final: true, keepMs: 1_000 },
  });
  expect(await world.batch(batchId)).toMatchObject({ state: "ended", outcome: "stopped", counts: { completed: 1 } });
});

test("a cancelled batch is fed no further at once, and its VMs go in small steps", async () => {
  await using world = openBatchWorld({ windowItems: 120 });
  const { batchId } = await world.upload(500);
  await world.feed(batchId);
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing to fetch");
  await world.launches.prepare(world.identity(job), {});
  expect(await world.batches.cancel(batchId, "somebody")).toBe("cancelling");
  expect(await world.batch(batchId)).toMatchObject({ state: "cancelling", counts: { listed: 0, skipped: 380 } });
  expect(await world.feeding.step(batchId)).toBe("done");
  expect(await world.batch(batchId)).toMatchObject({ state: "cancelling", counts: { removed: 119, preparing: 1 } });
  expect(await world.store.removalMark(job.vmId)).toMatchObject({ by: "somebody" });
  const { host, epoch } = world.identity(job);
  await world.launches.move(world.identity(job), {
    to: "stopping",
    event: { type: "vm.stopping", data: { host, epoch, reason: "requested" } },
    progress: {},
  });
  await world.launches.move(world.identity(job), {
    to: "removed",
    event: { type: "vm.removed", data: { reason: "requested" } },
    progress: {},
    leave: { box: "delete", tail: undefined, final: true, keepMs: 1_000 },
  });
  expect(await world.batch(batchId)).toMatchObject({ state: "ended", outcome: "cancelled", ended: 500 });
  expect(await world.batches.cancel(batchId, "somebody")).toBe("cancelling"); // it has been
  expect(await world.runAll()).toBe(0);
});

test("failed items are listed again, by cause, and go through the window of their batch; the batch ends once more", async () => {
  await using world = openBatchWorld();
  const { batchId } = await world.upload(12, { maxParallel: 4, stopAfterFailures: 12 });
  for (let ended = false; !ended; ended = (await world.batch(batchId)).state === "ended") {
    await world.feed(batchId);
    await world.runAll((vmId) => ((itemOfVmId(vmId)?.index ?? 0) % 2 === 0 ? "failed" : "completed"));
  }
  expect(await world.batch(batchId)).toMatchObject({ outcome: "failed", counts: { failed: 6, completed: 6 } });
  await world.redis.del(world.keys.record(vmIdOfItem(batchId, 2)));
  expect(await world.batches.retryFailed(batchId, "boot_timeout")).toEqual({
    kind: "retried",
    retried: 0,
    refused: [],
  });
  const outcome = await world.batches.retryFailed(batchId, "kernel_missing");
  expect(outcome).toEqual({
    kind: "retried",
    retried: 5,
    refused: [{ vmId: vmIdOfItem(batchId, 2), code: "vm_gone" }],
  });
  expect(await world.batch(batchId)).toMatchObject({ state: "active", counts: { listed: 5, failed: 1 }, ended: 7 });
  expect((await world.batch(batchId)).failures).toEqual([{ cause: "kernel_missing", count: 1 }]);
  // One of them can be retried no more when its turn comes.
  await world.store.requestRemoval({ vmId: vmIdOfItem(batchId, 4), reason: "requested", by: "me" });
  await world.feed(batchId);
  expect(await world.batch(batchId)).toMatchObject({ live: 4, counts: { listed: 0, failed: 2 } });
  expect(await world.runAll()).toBe(4);
  expect(await world.batch(batchId)).toMatchObject({ state: "ended", counts: { completed: 10, failed: 2 } });
});

test("an item is taken from the list by its VM's id, and is there to be looked at before it has a record", async () => {
  await using world = openBatchWorld({ windowItems: 1 });
  const { batchId } = await world.upload(3, { specs: [{}, { name: "second" }, {}], defaults: { ttl: "5m" } });
  await world.feed(batchId);
  const vmId = vmIdOfItem(batchId, 1);
  expect(await world.batches.listedVm(vmId)).toMatchObject({ state: "queued", spec: { name: "second", ttl: "5m" } });
  expect(await world.batches.listedVm(vmIdOfItem(batchId, 0))).toBeUndefined();
  expect(await world.batches.removeListed(vmId)).toBe("removed");
  expect(await world.batches.removeListed(vmId)).toBe("final");
  expect(await world.batches.removeListed(vmIdOfItem(batchId, 0))).toBe("not_listed");
  expect(await world.batches.listedVm(vmId)).toMatchObject({ state: "removed" });
  await world.runAll();
  await world.feed(batchId);
  await world.runAll();
  expect(await world.store.get(vmId)).toBeUndefined();
  expect(await world.batch(batchId)).toMatchObject({ state: "ended", counts: { completed: 2, removed: 1 } });
});

test("an item that is taken from the list while a feeder has it in its hands gets no VM", async () => {
  await using world = openBatchWorld();
  const { batchId } = await world.upload(2);
  const { keys, store, queue, batches } = world;
  const vmId = vmIdOfItem(batchId, 1);
  let taken: string | undefined;
  const redis = new Proxy(world.redis, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name !== "evalsha") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: unknown[]) => {
        taken ??= await batches.removeListed(vmId);
        return value.apply(target, args);
      };
    },
  });
  const feeding = new BatchFeeding({ redis, keys, store, queue, keyRing: fixedKeys(undefined), windowItems: 10 });
  await feeding.step(batchId);
  expect(taken).toBe("removed");
  expect(await store.get(vmId)).toBeUndefined();
  expect(await world.recounted(batchId)).toEqual({ queued: 1, removed: 1 });
});

test("shared secrets go under an item's own, sealed for its VM; a feeder without their key leaves them to others", async () => {
  const keys = secretKeys(["new", "old"]);
  await using world = openBatchWorld({ keyRing: fixedKeys(keys) });
  const upload = world.batches.newUpload({ owner: "local", idempotencyKey: undefined });
  const { batchId } = upload;
  const seal = (vmId: string, secrets: object) => sealSecrets(keys, { owner: "local", vmId }, secrets);
  const own = [undefined, { agentCertsToken: "own" }, { agentCertsToken: "", awsAccessKeyId: "" }];
  for (const [index, secrets] of own.entries()) {
    const sealed = secrets === undefined ? undefined : seal(upload.vmId(index), secrets);
    await upload.add({ line: index + 1, spec: {}, sealed });
  }
  const shared = seal(batchId, { agentCertsToken: "shared", awsAccessKeyId: "id" });
  await upload.commit({ ...COMMIT, sealed: shared });
  const { redis, store, queue } = world;
  const others = new BatchFeeding({
    redis,
    keys: world.keys,
    store,
    queue,
    keyRing: fixedKeys(secretKeys(["other"])),
    windowItems: 10,
  });
  expect(await others.step(batchId)).toBe("no_key");
  expect(await redis.zcard(world.keys.dueBatches)).toBe(0);
  expect(await redis.zcard(world.keys.dueSealedBatches)).toBe(1);
  await world.feed(batchId);
  const boxes = await Promise.all(own.map((_none, index) => redis.get(world.keys.box(vmIdOfItem(batchId, index)))));
  const opened = boxes.map((box, index) =>
    box === null ? null : openSealed(keys, { owner: "local", vmId: vmIdOfItem(batchId, index) }, box),
  );
  expect(opened).toEqual([
    { agentCertsToken: "shared", awsAccessKeyId: "id" },
    { agentCertsToken: "own", awsAccessKeyId: "id" },
    null,
  ]);
  expect((await store.get(vmIdOfItem(batchId, 2)))?.hasSecrets).toBe(false);
  expect(await redis.exists(world.keys.batchPart(batchId, "boxes"))).toBe(0);
});

test("a feeder with another key says so once, and the one that has it feeds the batch", async () => {
  const right = fixedKeys(secretKeys(["right"]));
  await using world = openBatchWorld({ keyRing: right });
  const { keys, redis, store, queue, upkeep, url } = world;
  const lines: string[] = [];
  const logger = pino({ level: "warn" }, { write: (line) => lines.push(line) });
  const open = (keyRing: KeyRing) => {
    const feeding = new BatchFeeding({ redis, keys, store, queue, keyRing, windowItems: 2 });
    const blocking = openRedis({ url, role: "blocking", name: "test-feeder", logger });
    const feeder = new BatchFeeder({ redis: blocking, keys, feeding, upkeep, keyRing, logger, roundMs: 60_000 });
    feeder.start();
    return { [Symbol.asyncDispose]: () => feeder.stop() };
  };
  await using _wrong = open(fixedKeys(secretKeys(["wrong"])));
  const upload = world.batches.newUpload({ owner: "local", idempotencyKey: undefined });
  const { batchId } = upload;
  for (let line = 1; line <= 6; line++) await upload.add({ line, spec: {} });
  const secrets = { agentCertsToken: "shared" };
  const sealed = sealSecrets(right.current ?? secretKeys([]), { owner: "local", vmId: batchId }, secrets);
  await upload.commit({ ...COMMIT, sealed });
  await waitFor(() => lines.length > 0, { what: "the feeder to say it" });
  await using _right = open(right);
  await runToEnd(world, batchId);
  expect(await world.batch(batchId)).toMatchObject({ outcome: "completed", counts: { completed: 6 } });
  expect(lines.filter((line) => line.includes("a key that is not here"))).toHaveLength(1);
});

test("a change of the key seals the boxes of listed items again, shared ones too", async () => {
  const both = secretKeys(["new", "old"]);
  const old = { ...both, sealingId: "old" };
  await using world = openBatchWorld({ keyRing: fixedKeys(both) });
  const upload = world.batches.newUpload({ owner: "local", idempotencyKey: undefined });
  const seal = (vmId: string) => sealSecrets(old, { owner: "local", vmId }, { agentCertsToken: "token" });
  await upload.add({ line: 1, spec: {}, sealed: seal(upload.vmId(0)) });
  await upload.add({ line: 2, spec: {} });
  await upload.commit({ ...COMMIT, sealed: seal(upload.batchId) });
  const boxes = new SealedBoxes({ redis: world.redis, keys: world.keys });
  const signal = AbortSignal.timeout(10_000);
  expect(await boxes.countByKey(signal)).toEqual(new Map([["old", 2]]));
  expect(await boxes.reseal(both, signal)).toEqual({ resealed: 2, current: 0, unreadable: [] });
  expect(await boxes.countByKey(signal)).toEqual(new Map([["new", 2]]));
  await world.feed(upload.batchId);
  const box = await world.redis.get(world.keys.box(upload.vmId(1)));
  const onlyNew = { sealingId: "new", byId: new Map([...both.byId].filter(([id]) => id === "new")) };
  expect(openSealed(onlyNew, { owner: "local", vmId: upload.vmId(1) }, box ?? "")).toEqual({
    agentCertsToken: "token",
  });
});

test("ends that nobody has counted are found by a look at the records", async () => {
  await using world = openBatchWorld();
  const { batchId } = await world.upload(3);
  await world.feed(batchId);
  // A worker that knows no batches has ended one, and one was deleted with its record since.
  const record = (index: number) => world.keys.record(vmIdOfItem(batchId, index));
  await world.redis.hset(record(0), "state", "completed", "host", "host-x");
  await world.redis.hdel(record(0), "batch", "item"); // its host has made it again from the job
  await world.redis.del(record(1));
  await world.upkeep.round();
  expect(await world.batch(batchId)).toMatchObject({ counts: { completed: 1, removed: 1, queued: 1 } });
  expect(await world.recounted(batchId)).toEqual({ completed: 1, removed: 1, queued: 1 });
  const { items } = await world.batches.items(batchId, { limit: 1 });
  expect(items[0]).toMatchObject({ state: "completed", host: "host-x" });
});

test("a Redis that was emptied has no batches, and their VMs go on", async () => {
  await using world = openBatchWorld();
  const { batchId } = await world.upload(3);
  await world.feed(batchId);
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing to fetch");
  for (const key of await world.redis.keys(`*${batchId}*`)) if (key.includes(":batch:")) await world.redis.del(key);
  expect(await world.run(job, "completed")).toBe(true);
  expect(await world.feeding.step(batchId)).toBe("done");
  await world.upkeep.round();
  expect(await world.batches.get(batchId)).toBeUndefined();
});

/** A connection that carries out so many commands, and then none any more. */
function dyingAfter(redis: RedisClient, commands: number): RedisClient {
  let left = commands;
  const dead = () => Promise.reject(new Error("the feeder is dead"));
  return new Proxy(redis, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (
        !["hgetall", "hmget", "hget", "getrange", "evalsha", "eval", "multi", "pipeline", "zadd"].includes(String(name))
      )
        return value.bind(target);
      return (...args: unknown[]) => {
        if (left > 0) {
          left -= 1;
          return value.apply(target, args);
        }
        return name === "multi" || name === "pipeline" ? { ...target.pipeline(), exec: dead } : dead();
      };
    },
  });
}
