import { expect, test } from "vitest";
import { Sweeper } from "../../src/queue/sweeper.ts";
import { acceptInput, openQueueWorld } from "../helpers/queue-world.ts";

const HOUR_MS = 3_600_000;

test("one VM that cannot be read keeps no other from its job, its time limit or its purge", async () => {
  await using world = openQueueWorld({
    keep: { completedMs: 1, failedMs: 1, failedSecretsMs: 1, marksMs: HOUR_MS, idempotencyMs: HOUR_MS },
  });
  const { redis, keys, store, upkeep, queue, logger } = world;
  const { vmId: broken } = await store.accept(acceptInput());
  await redis.hset(keys.record(broken), "spec", "no JSON");
  const { vmId: pending } = await store.accept(acceptInput());
  await redis.zadd(keys.pendingJobs, 1, broken, 2, pending); // the oldest first
  const { vmId: poisoned } = await store.accept(acceptInput());
  await redis.set(keys.mark(poisoned), "no JSON either");
  const { vmId: late } = await store.accept(acceptInput());
  await redis.zadd(keys.deadlines, 1, `q:${poisoned}`, 2, `q:${late}`);
  const { vmId: over } = await store.accept(acceptInput());
  await store.requestRemoval({ vmId: over, reason: "requested", by: "local" });
  await redis.zadd(keys.expiry, 1, over);

  const sweeper = new Sweeper({ store, upkeep, queue, logger, intervalMs: 1 });
  await expect(sweeper.sweep(), "it is said all the same").rejects.toThrow();
  expect(await redis.zscore(world.keys.bull("vm.default", "prioritized"), pending)).not.toBeNull();
  expect(await store.get(late)).toMatchObject({ state: "expired", endReason: "queue_timeout" });
  expect(await store.get(over)).toBeUndefined();
});

test("a retry by hand that is refused changes nothing: the secrets go when they would have gone", async () => {
  await using world = openQueueWorld();
  const { redis, keys, store } = world;
  const vmId = await world.submit({}, { sealedSecrets: "sealed" });
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing to fetch");
  const launch = world.identity(job);
  await world.launches.prepare(launch, {});
  const cause = { code: "guest_panic", message: "it panicked" } as const;
  await world.launches.move(launch, {
    to: "failed",
    event: { type: "vm.failed", data: { cause, attempt: 1, host: "host-a", epoch: 1, exitCode: null } },
    progress: {},
    leave: { box: HOUR_MS, tail: undefined, final: true, keepMs: HOUR_MS },
  });
  const state = async () => [await redis.hgetall(keys.record(vmId)), await redis.zscore(keys.expiry, vmId)];
  const before = await state();
  // Its end is told, and its job not settled yet.
  expect(await store.retryByHand({ vmId, by: "local" })).toEqual({ kind: "not_failed" });
  expect(await redis.pttl(keys.box(vmId))).toBeGreaterThan(0);
  await store.requestRemoval({ vmId, reason: "ttl", by: "drover" }); // not due
  expect(await state()).toEqual(before);

  await world.claims.failForGood(job, { message: "m", story: "s" });
  expect(await store.retryByHand({ vmId, by: "local" })).toEqual({ kind: "queued" });
  expect(await redis.pttl(keys.box(vmId)), "now they are needed").toBe(-1);
  expect(await redis.zscore(keys.expiry, vmId)).toBeNull();
});
