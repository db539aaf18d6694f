import { expect, test } from "vitest";
import type { Leave } from "../../src/queue/launch-moves.ts";
import { acceptInput, openQueueWorld } from "../helpers/queue-world.ts";

const LEFT: Leave = { box: "delete", tail: undefined, final: true, keepMs: 60_000 };

test("a VM goes from accept through fetch, port, run and end with numbered events and nothing left behind", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit({ name: "one" });
  const job = await world.fetch();
  expect(job).toMatchObject({ vmId, epoch: 1, data: { ok: true } });
  if (job === undefined) return;
  const launch = world.identity(job);
  const prepared = await world.launches.prepare(launch, {});
  expect(prepared).toMatchObject({ kind: "prepared", port: 6100 });
  expect(world.launches.freePorts).toBe(100);
  const running = { host: launch.host, epoch: 1, address: "127.0.0.1", port: 6100 };
  await world.launches.move(launch, {
    to: "starting",
    event: { type: "vm.starting", data: { host: launch.host, epoch: 1, port: 6100, pid: 4 } },
    progress: {},
  });
  await world.launches.move(launch, {
    to: "running",
    event: { type: "vm.running", data: { ...running, bootMs: 40 } },
    progress: {},
    ttlMs: 60_000,
  });
  expect(await world.store.get(vmId)).toMatchObject({ state: "running", host: "host-a", port: 6100, epoch: 1 });
  const moved = await world.launches.move(launch, {
    to: "completed",
    event: { type: "vm.completed", data: { host: launch.host, epoch: 1, reason: "guest_shutdown", exitCode: 0 } },
    progress: {},
    leave: { ...LEFT, tail: { console: "c", qemu: "q" } },
  });
  expect(moved).toBe("done");
  expect(world.launches.freePorts).toBe(101);
  await world.claims.complete(job, { outcome: "completed" });
  const events = await world.events.read({ after: "0", count: 100 });
  expect(events.map(({ event }) => [event.type, event.sequence])).toEqual([
    ["vm.queued", "1"],
    ["vm.preparing", "2"],
    ["vm.starting", "3"],
    ["vm.running", "4"],
    ["vm.completed", "5"],
  ]);
  expect(await world.ports.list()).toEqual([]);
  expect(await world.store.tail(vmId)).toEqual({ console: "c", qemu: "q" });
  expect(await world.redis.zcard(world.keys.deadlines)).toBe(0);
  expect(await world.redis.zcard(world.keys.bull("vm.default", "completed"))).toBe(1);
  expect(await world.redis.zcard(world.keys.pendingJobs)).toBe(0);
});

test("a move under another token, an older epoch or from a state that does not allow it changes nothing", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  const launch = world.identity(job);
  await world.launches.prepare(launch, {});
  const starting = {
    to: "starting",
    event: { type: "vm.starting", data: { host: "host-a", epoch: 1, port: 6100, pid: 1 } },
    progress: {},
  } as const;
  expect(await world.launches.move({ ...launch, token: "other" }, starting)).toBe("not_owner");
  expect(await world.launches.move({ ...launch, epoch: 0 }, starting)).toBe("not_owner");
  expect(await world.launches.move({ ...launch, host: "host-b" }, starting)).toBe("not_owner");
  const ready = {
    to: "ready",
    event: { type: "vm.ready", data: { host: "host-a", epoch: 1, readyMs: 1 } },
    progress: {},
  } as const;
  expect(await world.launches.move(launch, ready)).toBe("wrong_state");
  expect(await world.eventTypes(vmId)).toEqual(["vm.queued", "vm.preparing"]);
  expect((await world.store.get(vmId))?.state).toBe("preparing");
});

test("a fetch by another host is fenced: only the host that BullMQ names with the lock's token may prepare", async () => {
  await using world = openQueueWorld();
  await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  const launch = world.identity(job);
  expect((await world.launches.prepare({ ...launch, host: "host-b" }, {})).kind).toBe("not_owner");
  expect((await world.launches.prepare({ ...launch, token: "stolen" }, {})).kind).toBe("not_owner");
  expect((await world.launches.prepare({ ...launch, epoch: 2 }, {})).kind).toBe("not_owner");
  expect((await world.launches.prepare(launch, {})).kind).toBe("prepared");
  expect((await world.launches.prepare(launch, {})).kind, "a resent command").toBe("prepared");
  expect(await world.ports.list()).toHaveLength(1);
});

test("a marked VM never enters a launch state, and ends as removed when a host fetches it", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  expect(await world.store.requestRemoval({ vmId, reason: "requested", by: "local" })).toEqual({
    kind: "marked",
    host: "host-a",
  });
  expect((await world.launches.prepare(world.identity(job), {})).kind).toBe("marked");
  expect((await world.store.get(vmId))?.state).toBe("removed");
  expect(await world.ports.list()).toEqual([]);
  expect(await world.eventTypes(vmId)).toEqual(["vm.queued", "vm.removal_requested", "vm.removed"]);
});

test("a waiting VM is removed in one step, twice is no error, and its job is listed as completed", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit();
  expect((await world.store.requestRemoval({ vmId, reason: "requested", by: "local" })).kind).toBe("removed");
  expect((await world.store.requestRemoval({ vmId, reason: "requested", by: "local" })).kind).toBe("final");
  expect(await world.fetch()).toBeUndefined();
  expect(await world.eventTypes(vmId)).toEqual(["vm.queued", "vm.removal_requested", "vm.removed"]);
  expect(await world.redis.zcard(world.keys.bull("vm.default", "completed"))).toBe(1);
  expect(
    (await world.store.requestRemoval({ vmId: "00000000-0000-4000-8000-000000000000", reason: "requested", by: "x" }))
      .kind,
  ).toBe("not_found");
});

test("a failed launch waits for exactly the delay that drover chose and comes back with the next epoch", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  const launch = world.identity(job);
  await world.launches.prepare(launch, {});
  const cause = { code: "boot_timeout", message: "too slow" } as const;
  const retrying = {
    to: "retrying",
    fields: { attemptsMade: "1" },
    event: { type: "vm.retrying", data: { host: "host-a", epoch: 1, cause, attempt: 1, attempts: 3, delayMs: 150 } },
    progress: {},
    leave: { ...LEFT, box: "keep", final: false },
  } as const;
  expect(await world.launches.move(launch, retrying)).toBe("done");
  await world.claims.fail(job, { message: "boot_timeout", story: "story", delayMs: 150 });
  const dueAtMs = (await world.claims.nextDelayedAtMs("default")) ?? 0;
  expect(Math.abs(dueAtMs - Date.now() - 150)).toBeLessThan(120);
  await expect.poll(() => world.fetch(), { timeout: 5_000 }).toMatchObject({ vmId, epoch: 2 });
  expect((await world.store.get(vmId))?.state).toBe("retrying");
});

test("giving a job back uses no attempt and does not put it at the head at once", async () => {
  await using world = openQueueWorld();
  const first = await world.submit();
  const second = await world.submit();
  const job = await world.fetch();
  expect(job?.vmId).toBe(first);
  if (job === undefined) return;
  await world.claims.giveBack(job, 60_000);
  expect((await world.fetch())?.vmId).toBe(second);
  expect(await world.fetch()).toBeUndefined();
});

test("a failed VM can be retried by hand with all its attempts, and its epoch goes on", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  const launch = world.identity(job);
  expect((await world.store.retryByHand({ vmId, by: "local" })).kind).toBe("not_failed");
  await world.launches.prepare(launch, {});
  const cause = { code: "kernel_invalid", message: "no kernel" } as const;
  await world.launches.move(launch, {
    to: "failed",
    fields: { cause: JSON.stringify(cause), attemptsMade: "1" },
    event: { type: "vm.failed", data: { cause, attempt: 1, host: "host-a", epoch: 1, exitCode: null } },
    progress: {},
    leave: { ...LEFT, box: 60_000 },
  });
  await world.claims.failForGood(job, { message: "kernel_invalid", story: "story" });
  expect((await world.store.retryByHand({ vmId, by: "local" })).kind).toBe("queued");
  expect(await world.store.get(vmId)).toMatchObject({ state: "queued", attemptsMade: 0, epoch: 1 });
  expect(await world.fetch()).toMatchObject({ vmId, epoch: 2 });
});

test("a failed VM whose secrets are deleted cannot be retried", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit({}, { sealedSecrets: "sealed" });
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  const launch = world.identity(job);
  await world.launches.prepare(launch, {});
  const cause = { code: "kernel_invalid", message: "no kernel" } as const;
  const failed = {
    to: "failed",
    event: { type: "vm.failed", data: { cause, attempt: 1, host: "host-a", epoch: 1, exitCode: null } },
    progress: {},
  } as const;
  await world.launches.move(launch, { ...failed, leave: { ...LEFT } });
  await world.claims.failForGood(job, { message: "kernel_invalid", story: "story" });
  expect((await world.store.retryByHand({ vmId, by: "local" })).kind).toBe("secrets_gone");
});

test("the same idempotency key gives the same VM, another body a conflict, another owner a VM of its own", async () => {
  await using world = openQueueWorld();
  const first = await world.store.accept(acceptInput({}, { idempotencyKey: "k" }));
  expect(first.kind).toBe("accepted");
  expect(await world.store.accept(acceptInput({}, { idempotencyKey: "k" }))).toEqual({
    kind: "replayed",
    vmId: first.vmId,
  });
  expect(await world.store.accept(acceptInput({}, { idempotencyKey: "k", digest: "other" }))).toEqual({
    kind: "conflict",
    vmId: first.vmId,
  });
  expect((await world.store.accept(acceptInput({}, { idempotencyKey: "k", owner: "else" }))).kind).toBe("accepted");
  const many = await Promise.all(
    Array.from({ length: 50 }, () => world.store.accept(acceptInput({}, { idempotencyKey: "many" }))),
  );
  expect(new Set(many.map(({ vmId }) => vmId)).size).toBe(1);
});

test("one owner's thousand VMs do not delay another owner's single one, and classes come before turns", async () => {
  await using world = openQueueWorld();
  for (let i = 0; i < 1_000; i++) await world.store.accept(acceptInput({}, { owner: "big" }));
  const { vmId: small } = await world.store.accept(acceptInput({}, { owner: "small" }));
  const { vmId: urgent } = await world.store.accept(acceptInput({}, { owner: "big", priority: "high" }));
  const { records } = await world.store.list({ limit: 500 });
  const priority = new Map(records.map((record) => [record.vmId, record.jobPriority]));
  const ahead = records.filter((record) => record.owner === "big" && record.jobPriority < (priority.get(small) ?? 0));
  expect(ahead.map((record) => record.vmId)).toEqual([urgent]);
});

test("an ended VM is purged when its time is over and leaves a tombstone", async () => {
  await using world = openQueueWorld({
    keep: { completedMs: 1, failedMs: 1, failedSecretsMs: 1, marksMs: 60_000, idempotencyMs: 60_000 },
  });
  const vmId = await world.submit({}, { idempotencyKey: "k" });
  await world.store.requestRemoval({ vmId, reason: "requested", by: "local" });
  await expect.poll(() => world.upkeep.purgeExpired(10), { timeout: 5_000 }).toBe(1);
  expect(await world.store.get(vmId)).toBeUndefined();
  expect(await world.store.removalMark(vmId)).toMatchObject({ reason: "purged" });
  expect(await world.store.accept(acceptInput({}, { idempotencyKey: "k" }))).toEqual({ kind: "gone", vmId });
  const left = await world.redis.keys(`${world.keys.prefix.replace(/[{}]/g, "\\$&")}:*${vmId}*`);
  expect(left).toEqual([world.keys.mark(vmId)]);
});
