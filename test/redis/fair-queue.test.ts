import { expect, test } from "vitest";
import { PRIORITY_CLASSES } from "../../src/contract/vm-request.ts";
import { PRIORITY_SCALE } from "../../src/queue/priority-scale.ts";
import { acceptInput, openQueueWorld } from "../helpers/queue-world.ts";

const { classWidth } = PRIORITY_SCALE;
const NORMAL = PRIORITY_CLASSES.indexOf("normal");
type World = ReturnType<typeof openQueueWorld>;

const submitOf = (world: World, owner: string) => world.submit({}, { owner });

/** Fetches and prepares the next VM, as a host does, and says whose it is. */
async function launchNext(world: World): Promise<{ vmId: string; owner: string; epoch: number }> {
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing waits");
  expect(await world.launches.prepare(world.identity(job), {})).toMatchObject({ kind: "prepared" });
  return { vmId: job.vmId, owner: job.data.ok ? job.data.value.owner : "", epoch: job.epoch };
}

async function launchOwners(world: World, count: number): Promise<string[]> {
  const owners: string[] = [];
  for (let i = 0; i < count; i++) owners.push((await launchNext(world)).owner);
  return owners;
}

/** Virtual time as it stands after that many launches: nobody has to launch them here. */
async function setClock(world: World, clock: number): Promise<void> {
  await world.redis.hset(world.keys.fairness("default"), `${NORMAL}:clock`, clock, `${NORMAL}:base`, 0);
}

async function place(world: World, vmId: string): Promise<number> {
  const score = Number(await world.redis.zscore(world.keys.bull("vm.default", "prioritized"), vmId));
  return Math.floor(score / 2 ** 32) - NORMAL * classWidth - 1;
}

/** What waits is never nothing in these tests: one VM that was accepted before the clock was set. */
async function worldNearTheEnd(clock: number): Promise<World & { first: string }> {
  const world = openQueueWorld({ range: { first: 1, last: 1_000, reserved: [] } });
  const first = await submitOf(world, "early");
  await setClock(world, clock);
  return { ...world, first };
}

test.each([classWidth - 3, classWidth * 5, 2 ** 40])(
  "owners still take turns when %d launches have been and somebody always waits",
  async (clock) => {
    await using world = await worldNearTheEnd(clock);
    for (let i = 0; i < 6; i++) await submitOf(world, "big");
    for (let i = 0; i < 3; i++) await submitOf(world, "small");
    expect(await launchOwners(world, 10)).toEqual([
      "early",
      "big",
      "small",
      "big",
      "small",
      "big",
      "small",
      "big",
      "big",
      "big",
    ]);
    expect(await world.fetch()).toBeUndefined();
  },
);

test("a single VM waits behind one VM of every other owner at most, however many these have", async () => {
  await using world = openQueueWorld({ range: { first: 1, last: 1_000, reserved: [] } });
  for (let i = 0; i < 120; i++) await submitOf(world, `big-${i % 3}`);
  await launchOwners(world, 10);
  const single = await submitOf(world, "single");
  const [place] = await world.queue.places([{ vmId: single, pool: "default" }]);
  expect(place).toMatchObject({ kind: "queued", paused: false });
  expect(place?.kind === "queued" && place.ahead).toBeLessThanOrEqual(3);
  const owners = await launchOwners(world, 4);
  expect(owners.filter((owner) => owner === "single")).toEqual(["single"]);
});

test("an owner with more VMs than there are places waits at the end, and the others' turns come before", async () => {
  await using world = await worldNearTheEnd(0);
  await world.redis.hset(`${world.keys.fairness("default")}:${NORMAL}`, "huge", classWidth * 2);
  const huge = [await submitOf(world, "huge"), await submitOf(world, "huge")];
  for (let i = 0; i < 3; i++) await submitOf(world, "small");
  expect(await launchOwners(world, 6)).toEqual(["early", "small", "small", "small", "huge", "huge"]);
  expect((await world.store.get(huge[1] ?? ""))?.state).toBe("preparing");
});

test("moving all that waits keeps its order, thousands at a time, and stays inside the class", async () => {
  await using world = openQueueWorld();
  const prioritized = world.keys.bull("vm.default", "prioritized");
  const front = NORMAL * classWidth + 1;
  const scores = Array.from({ length: 5_000 }, (_, i) => (front + 1 + i * 139) * 2 ** 32 + i);
  const others = [(front - 1) * 2 ** 32 + 7, (front + classWidth) * 2 ** 32];
  await world.redis.zadd(prioritized, ...scores.flatMap((score, i) => [String(score), `waiting-${i}`]));
  await world.redis.zadd(prioritized, String(others[0]), "high", String(others[1]), "low");
  await setClock(world, classWidth * 0.9);
  const { record } = await world.store.accept(acceptInput());
  const waiting = await world.redis.zrange(prioritized, "0", "-1");
  expect(waiting).toEqual(["high", ...scores.map((_, i) => `waiting-${i}`), "low"]);
  expect(Number(await world.redis.zscore(prioritized, "high"))).toBe(others[0]);
  expect(Number(await world.redis.zscore(prioritized, "low"))).toBe(others[1]);
  expect(Number(await world.redis.zscore(prioritized, "waiting-0"))).toBe((front + 1) * 2 ** 32);
  const last = (scores[4_999] ?? 0) - Number(await world.redis.zscore(prioritized, "waiting-4999"));
  expect(last / 2 ** 32).toBe(classWidth * 0.9);
  expect(record?.jobPriority, "the clock's own place").toBe(front + 1);
});

test("a job that was on its way while places moved gets the right place when it comes", async () => {
  await using world = await worldNearTheEnd(classWidth / 2 - 1);
  const { record } = await world.store.accept(acceptInput({}, { owner: "slow" }));
  if (record === undefined) throw new Error("not accepted");
  await setClock(world, classWidth - 10);
  await submitOf(world, "quick"); // moves the base up to the clock
  await world.queue.enqueue(record);
  expect(await place(world, record.vmId), "it was due long ago").toBe(1);
  expect(await world.redis.zcard(world.keys.pendingJobs)).toBe(0);
});

test("when nobody waits, nobody owes a turn, and places begin at the front", async () => {
  await using world = openQueueWorld();
  await setClock(world, 1_000);
  await world.redis.hset(`${world.keys.fairness("default")}:${NORMAL}`, "big", 90_000);
  const vmId = await submitOf(world, "big");
  expect(await place(world, vmId)).toBe(1);
  await launchNext(world);
  expect(await world.redis.hgetall(world.keys.fairness("default"))).toEqual({
    [`${NORMAL}:clock`]: "1000",
    [`${NORMAL}:base`]: "1000",
  });
  expect(await world.redis.hgetall(`${world.keys.fairness("default")}:${NORMAL}`)).toEqual({ big: "1001" });
});

test("a VM that comes back to the queue comes before those that have not had their turn, whatever its place was", async () => {
  await using world = openQueueWorld();
  await submitOf(world, "early");
  await setClock(world, classWidth * 0.4);
  const vmId = await submitOf(world, "back");
  await world.redis.zrem(
    world.keys.bull("vm.default", "prioritized"),
    (await world.store.list({ limit: 9 })).records.find((r) => r.owner === "early")?.vmId ?? "",
  );
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing waits");
  expect(job.vmId).toBe(vmId);
  await world.claims.giveBack(job, 1); // never prepared
  await submitOf(world, "new");
  await expect.poll(() => world.redis.zcard(world.keys.bull("vm.default", "delayed"))).toBe(1);
  expect(await world.redis.hget(world.keys.bull("vm.default", vmId), "priority")).toBe(String(NORMAL * classWidth + 1));
  expect(await launchNext(world)).toMatchObject({ vmId, epoch: 2 });
  expect(await world.store.get(vmId)).toMatchObject({ jobPriority: NORMAL * classWidth + 1 });
});

test("a VM that is launched again, too, and without asking what its place was", async () => {
  await using world = openQueueWorld();
  const vmId = await submitOf(world, "back");
  await world.redis.hset(world.keys.bull("vm.default", vmId), "priority", String(2 * classWidth));
  const job = await world.fetch();
  if (job === undefined) throw new Error("nothing waits");
  await world.launches.prepare(world.identity(job), {});
  await world.claims.fail(job, { message: "guest_panic", story: "", delayMs: 0 });
  const score = Number(await world.redis.zscore(world.keys.bull("vm.default", "prioritized"), vmId));
  expect(Math.floor(score / 2 ** 32)).toBe(NORMAL * classWidth + 1);
});

test("VMs whose jobs are still on their way have their turns", async () => {
  await using world = openQueueWorld();
  const places: number[] = [];
  for (const owner of ["big", "big", "small", "big"]) {
    const { record } = await world.store.accept(acceptInput({}, { owner }));
    places.push((record?.jobPriority ?? 0) - NORMAL * classWidth - 1);
  }
  expect(places).toEqual([1, 2, 1, 3]);
});

test("the class is the record's, and a class has its own virtual time", async () => {
  await using world = openQueueWorld();
  const low = await world.submit({}, { owner: "a", priority: "low" });
  const high = await world.submit({}, { owner: "a", priority: "high" });
  expect((await launchNext(world)).vmId).toBe(high);
  await setClock(world, 5);
  expect((await launchNext(world)).vmId).toBe(low);
  const clocks = await world.redis.hgetall(world.keys.fairness("default"));
  expect(clocks[`${NORMAL}:clock`]).toBe("5");
  expect((await world.store.get(low))?.jobPriority).toBe(2 * classWidth + 1);
});
