import { expect, test } from "vitest";
import { acceptInput, KEEP, openQueueWorld } from "../helpers/queue-world.ts";

const AT_ONCE = { ...KEEP, completedMs: 1, failedMs: 1 };
type World = ReturnType<typeof openQueueWorld>;

const bull = (world: World, part: string) => world.keys.bull("vm.default", part);
const remove = (world: World, vmId: string) => world.store.requestRemoval({ vmId, reason: "requested", by: "local" });
const purge = (world: World) => expect.poll(() => world.upkeep.purgeExpired(10), { timeout: 5_000 }).toBe(1);

async function accept(world: World) {
  const { record } = await world.store.accept(acceptInput());
  if (record === undefined) throw new Error("not accepted");
  return record;
}

test("a purge takes the id out of every list, however it came there", async () => {
  await using world = openQueueWorld({ keep: AT_ONCE });
  const vmId = await world.submit();
  await remove(world, vmId);
  for (const list of ["prioritized", "delayed"]) await world.redis.zadd(bull(world, list), 5, vmId);
  for (const list of ["wait", "active", "paused"]) await world.redis.lpush(bull(world, list), vmId, "other", vmId);
  await purge(world);
  const traces = await world.redis.keys(`${world.keys.prefix.replace(/[{}]/g, "\\$&")}:*`);
  const holding: string[] = [];
  for (const key of traces) {
    const type = await world.redis.type(key);
    const members = type === "list" ? await world.redis.lrange(key, 0, -1) : [];
    if (type === "zset") members.push(...(await world.redis.zrange(key, "0", "-1")));
    if (members.some((member) => member.includes(vmId))) holding.push(key);
  }
  expect(holding).toEqual([]);
  expect(await world.redis.lrange(bull(world, "active"), 0, -1)).toEqual(["other"]);
});

test.each(["removed", "removed and purged"])("a job that comes after its VM was %s goes again", async (how) => {
  await using world = openQueueWorld({ keep: AT_ONCE });
  const record = await accept(world);
  expect((await remove(world, record.vmId)).kind).toBe("removed");
  if (how !== "removed") await purge(world);
  await world.queue.enqueue(record); // whoever accepted it was slow
  expect(await world.fetch()).toBeUndefined();
  expect(await world.redis.exists(bull(world, record.vmId))).toBe(0);
  expect(await world.redis.zcard(bull(world, "prioritized"))).toBe(0);
});

test("a job that was fetched in between has no record: it fails for good instead of coming back for ever", async () => {
  await using world = openQueueWorld({ keep: AT_ONCE });
  const vmId = await world.submit();
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing fetched");
  await world.redis.del(world.keys.record(vmId));
  expect((await world.launches.prepare(world.identity(job), {})).kind).toBe("no_record");
  await world.claims.failForGood(job, { message: "no record", story: "the VM was purged" });
  expect(await world.redis.zrange(bull(world, "failed"), "0", "-1")).toEqual([vmId]);
  expect(await world.fetch()).toBeUndefined();
});

test("a launch begins with nothing of what an earlier one said, and says when it began", async () => {
  await using world = openQueueWorld();
  const vmId = await world.submit();
  const first = await world.fetch();
  if (first === undefined) throw new Error("nothing fetched");
  const before = Date.now();
  await world.launches.prepare(world.identity(first), {});
  const launchedAtMs = Number(await world.redis.hget(world.keys.record(vmId), "launchedAtMs"));
  expect(Math.abs(launchedAtMs - before)).toBeLessThan(5_000);
  const cause = { code: "guest_panic", message: "it panicked" } as const;
  const ofThisLaunch = {
    runningAtMs: "1700000000000",
    readyAtMs: "1700000000001",
    command: "qemu",
    endReason: "guest_panic",
    retryAtMs: "1700000000002",
    cause: JSON.stringify(cause),
    result: JSON.stringify({ exitCode: 3, data: null }),
  };
  await world.launches.move(world.identity(first), {
    to: "retrying",
    fields: { ...ofThisLaunch, attemptsMade: "1", launches: "[]" },
    event: { type: "vm.retrying", data: { host: "host-a", epoch: 1, cause, attempt: 1, attempts: 3, delayMs: 1 } },
    progress: {},
    leave: { box: "keep", tail: undefined, final: false, keepMs: 1 },
  });
  expect((await world.store.get(vmId))?.cause).toEqual(cause);
  await world.claims.fail(first, { message: "guest_panic", story: "", delayMs: 1 });
  let second = await world.fetch();
  await expect.poll(async () => (second ??= await world.fetch()), { timeout: 5_000 }).toBeDefined();
  if (second === undefined) return;
  expect((await world.launches.prepare(world.identity(second), {})).kind).toBe("prepared");
  const record = await world.redis.hgetall(world.keys.record(vmId));
  for (const field of Object.keys(ofThisLaunch)) expect(record[field], field).toBeUndefined();
  expect(record).toMatchObject({ attemptsMade: "1", state: "preparing", epoch: "2" });
  expect(Number(record["launchedAtMs"])).toBeGreaterThanOrEqual(launchedAtMs);
});
