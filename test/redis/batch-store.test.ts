import { expect, test } from "vitest";
import { itemOfVmId, vmIdOfItem } from "../../src/runtime/batch-id.ts";
import { COMMIT, openBatchWorld } from "../helpers/batch-world.ts";
import { waitFor } from "../helpers/wait-for.ts";

test("a batch goes from upload to its end, and its counts, items and events say so", async () => {
  await using world = openBatchWorld();
  const { batchId, outcome } = await world.upload(250, {
    name: "nightly",
    defaults: { labels: { a: "1" }, ttl: "5m" },
  });
  expect(outcome).toEqual({ kind: "accepted", digest: "digest-1" });
  expect(await world.batch(batchId)).toMatchObject({ state: "active", total: 250, ended: 0, counts: { listed: 250 } });
  await world.feed(batchId);
  expect(await world.batch(batchId)).toMatchObject({ counts: { listed: 0, queued: 250 } });
  expect(await world.redis.zcard(world.keys.pendingJobs)).toBe(0);
  const record = await world.store.get(vmIdOfItem(batchId, 249));
  expect(record).toMatchObject({ batch: batchId, state: "queued", spec: { labels: { a: "1" }, ttl: "5m" } });
  const failing = (vmId: string) => ((itemOfVmId(vmId)?.index ?? 0) % 50 === 0 ? "failed" : "completed");
  expect(await world.runAll(failing)).toBe(250);
  const ended = await world.batch(batchId);
  expect(ended).toMatchObject({ state: "ended", outcome: "failed", ended: 250, counts: { completed: 245, failed: 5 } });
  expect(ended.failures).toEqual([{ cause: "kernel_missing", count: 5 }]);
  expect(await world.recounted(batchId)).toEqual({ completed: 245, failed: 5 });
  const page = await world.batches.items(batchId, { states: ["failed"], cause: "kernel_missing", limit: 3 });
  expect(page.items.map(({ index }) => index)).toEqual([0, 50, 100]);
  expect(page.items[0]).toMatchObject({
    line: 1,
    host: "host-a",
    cause: "kernel_missing",
    vmId: vmIdOfItem(batchId, 0),
  });
  const rest = await world.batches.items(batchId, { states: ["failed"], limit: 3, cursor: page.next ?? "" });
  expect(rest.items.map(({ index }) => index)).toEqual([150, 200]);
  const events = await world.events.read({ after: "0", count: 10_000 });
  const ofBatch = events.filter(({ event }) => event.subject === batchId).map(({ event }) => event);
  expect(ofBatch.map(({ type, sequence, source }) => [type, sequence, source])).toEqual([
    ["batch.accepted", "1", "/drover/batches"],
    ["batch.completed", "2", "/drover/batches"],
  ]);
  expect(ofBatch[1]?.data).toEqual({
    outcome: "failed",
    total: 250,
    completed: 245,
    failed: 5,
    expired: 0,
    removed: 0,
    skipped: 0,
  });
});

test("an upload that is cut off leaves nothing, and one of which something is lost is not accepted", async () => {
  await using world = openBatchWorld();
  const { keys, redis } = world;
  const cut = world.batches.newUpload({ owner: "local", idempotencyKey: "key" });
  for (let line = 1; line <= 2_500; line++) await cut.add({ line, spec: { name: `n${line}` }, sealed: "box" });
  const staged = await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`);
  expect(staged.every((key) => key.includes("batch-upload"))).toBe(true);
  expect(staged).toHaveLength(2);
  for (const key of staged) expect(await redis.pttl(key)).toBeGreaterThan(0); // nobody has to clear it away
  await redis.hdel(staged.find((key) => key.endsWith(":items")) ?? "", "0");
  expect(await cut.commit(COMMIT)).toEqual({ kind: "lost", digest: "" });
  expect(await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`)).toEqual([]);
  const refused = world.batches.newUpload({ owner: "local", idempotencyKey: "key" });
  for (let line = 1; line <= 1_500; line++) await refused.add({ line, spec: {} });
  await refused.abandon();
  expect(await redis.keys(`${keys.prefix.replace(/[{}]/g, "\\$&")}*`)).toEqual([]);
});

test("the same key gives the same batch, another content is a conflict, and a deleted one comes not back", async () => {
  await using world = openBatchWorld({ keepMs: 0 });
  const problems = [{ line: 3, field: "name", message: "bad" }];
  const { batchId, upload } = await world.upload(2, { idempotencyKey: "key", rejected: 1, problems });
  expect(await upload.commit({ ...COMMIT, digest: "digest-1" })).toEqual({ kind: "accepted", digest: "digest-1" });
  const again = await world.upload(2, { idempotencyKey: "key" });
  expect(again).toMatchObject({ batchId, outcome: { kind: "replayed" } });
  expect(await world.batch(batchId)).toMatchObject({ rejected: 1, problems });
  const other = await world.upload(2, { idempotencyKey: "key", digest: "digest-2" });
  expect(other.outcome).toEqual({ kind: "conflict", digest: "digest-1" });
  expect((await world.upload(2, { idempotencyKey: "key", owner: "other" })).batchId).not.toBe(batchId);
  await world.feed(batchId);
  await world.runAll();
  await waitFor(async () => (await world.upkeep.purge()) === 1, { timeoutMs: 2_000, what: "the batch to be deleted" });
  expect(await world.batches.get(batchId)).toBeUndefined();
  expect((await world.redis.keys("*")).filter((key) => key.includes(`batch:${batchId}`))).toEqual([]);
  expect((await world.upload(2, { idempotencyKey: "key" })).outcome.kind).toBe("gone");
  // Its VMs are kept by their own time.
  expect(await world.store.get(upload.vmId(0))).toMatchObject({ state: "completed", batch: batchId });
});

test("batches are listed newest first, by owner and state, page by page", async () => {
  await using world = openBatchWorld();
  const ids: string[] = [];
  for (const owner of ["a", "b", "a", "b", "a"]) ids.push((await world.upload(1, { owner })).batchId);
  await world.batches.cancel(ids[2] ?? "", "a");
  const all: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await world.batches.list({ limit: 2, cursor });
    all.push(...page.batches.map(({ batchId }) => batchId));
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  expect(new Set(all)).toEqual(new Set(ids));
  expect(all).toHaveLength(5);
  const own = await world.batches.list({ limit: 10, owner: "a" });
  expect(own.batches.map(({ owner }) => owner)).toEqual(["a", "a", "a"]);
  const ended = await world.batches.list({ limit: 10, state: "ended" });
  expect(ended.batches.map(({ batchId }) => batchId)).toEqual([ids[2]]);
  await expect(world.batches.list({ limit: 1, cursor: "nonsense" })).rejects.toMatchObject({ code: "invalid_request" });
});

test("a large request stands for itself in the list and is fed whole, with its turn, time limit and defaults", async () => {
  await using world = openBatchWorld();
  const certificate = Buffer.alloc(6_000, 7).toString("base64");
  const specs = [{ agentCvmCaUrl: "small" }, { agentCvmServerCaCert: certificate, ttl: "" }];
  const defaults = { ttl: "5m", priority: "high", queueTimeout: "1h", attempts: 2 } as const;
  const { batchId, upload } = await world.upload(2, { specs, defaults });
  await world.feed(batchId);
  const [small, large] = [await world.store.get(upload.vmId(0)), await world.store.get(upload.vmId(1))];
  expect(small).toMatchObject({ priority: "high", attempts: 2, spec: { ...defaults, agentCvmCaUrl: "small" } });
  expect(large?.spec.agentCvmServerCaCert).toBe(certificate);
  expect(large?.spec.ttl).toBeUndefined();
  expect(large?.queueDeadlineAtMs).toBe((large?.createdAtMs ?? 0) + 3_600_000);
});
