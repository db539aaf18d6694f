import { randomUUID } from "node:crypto";
import { Queue } from "bullmq";
import { expect, test } from "vitest";
import { type HostOffer, placementPool, servedPools } from "../../src/contract/placement.ts";
import type { VmSpec } from "../../src/contract/vm-request.ts";
import { VmAccepted, VmDetail, VmList } from "../../src/contract/vm-view.ts";
import { openRedis } from "../../src/queue/connection.ts";
import type { HostDescription } from "../../src/queue/host-description.ts";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import { JobClaims } from "../../src/queue/job-claims.ts";
import { PoolNames } from "../../src/queue/pool-names.ts";
import { PoolWaiter } from "../../src/queue/pool-waiter.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { FetchLoop } from "../../src/worker/fetch-loop.ts";
import { Mutex } from "../../src/worker/mutex.ts";
import { PoolWatch } from "../../src/worker/pool-watch.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { KEEP, openQueueWorld } from "../helpers/queue-world.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openHttpWorld } from "./http-world.ts";

type World = ReturnType<typeof openQueueWorld>;

const LEASE_MS = 60_000;
/** Far less than the time after which hosts look at the list of queues by themselves. */
const AT_ONCE_MS = 2_000;

/** The part of a worker that fetches, with a lease; what it takes is told and stays active. */
async function openFetcher(
  world: World,
  { hostId, labels, memoryClasses }: Pick<HostOffer, "hostId" | "labels" | "memoryClasses">,
) {
  const { url, keys, logger } = world;
  const open = (role: "worker" | "blocking") => openRedis({ url, role, name: `test-${hostId}`, logger });
  const [redis, bull, blocking] = [open("worker"), open("worker"), open("blocking")];
  const offer: HostOffer = {
    hostId,
    pools: ["default"],
    tee: "none",
    hasGpu: false,
    ownSize: true,
    labels,
    memoryClasses,
  };
  const names = new PoolNames({ redis, keys });
  await new HostRegistry({ redis, keys }).take(hostDescription({ hostId, stateId: hostId }), LEASE_MS);
  const claims = new JobClaims({ redis: bull, keys, hostId, logger });
  const taken: string[] = [];
  const loop = new FetchLoop({
    pools: new PoolWatch({ offer, base: servedPools(offer), names, clock: systemClock }),
    fitting: (pools) => pools,
    claims,
    waiter: new PoolWaiter({ redis: blocking, keys, hostId }),
    mutex: new Mutex(),
    clock: systemClock,
    logger,
    newToken: () => `${hostId}:state:boot:${randomUUID()}`,
    hasRoom: () => true,
    roomChanged: () => new Promise(() => undefined),
    take: async ({ vmId }) => void taken.push(vmId),
    strand: () => undefined,
  });
  loop.start();
  return {
    taken,
    async [Symbol.asyncDispose]() {
      await loop.stop();
      await claims.close();
      for (const client of [redis, bull, blocking]) client.disconnect();
    },
  };
}

const submitTo = (world: World, spec: VmSpec) => world.submit(spec, { pool: placementPool("default", spec) });

test("each VM comes to a host that meets its needs and to no other, and the first of its kind does not wait", async () => {
  await using world = openQueueWorld();
  await using a = await openFetcher(world, { hostId: "a", labels: { zone: "a" }, memoryClasses: ["small"] });
  await using b = await openFetcher(world, {
    hostId: "b",
    labels: { zone: "b", disk: "ssd" },
    memoryClasses: ["small", "large"],
  });
  const { redis, keys } = world;
  const first = await submitTo(world, {}); // both loops have turned, and wait by now
  await waitFor(() => [...a.taken, ...b.taken].includes(first));
  const started = performance.now();
  const ofA = await submitTo(world, { memoryClass: "small", hostLabels: { zone: "a" } });
  const ofB = [
    await submitTo(world, { memoryClass: "large" }),
    await submitTo(world, { hostLabels: { zone: "b", disk: "ssd" } }),
    await submitTo(world, { memoryClass: "small", hostLabels: { disk: "ssd" } }),
  ];
  await waitFor(() => a.taken.includes(ofA) && ofB.every((vmId) => b.taken.includes(vmId)));
  expect(performance.now() - started).toBeLessThan(AT_ONCE_MS);
  const nobodys = await submitTo(world, { hostLabels: { zone: "c" } });
  await submitTo(world, {}); // whoever takes this one has looked at everything that it serves
  await waitFor(() => a.taken.length + b.taken.length === 6);
  expect([...a.taken, ...b.taken]).not.toContain(nobodys);
  expect(await redis.zcard(keys.bull("vm.default+zone=c", "prioritized"))).toBe(1);
});

test("a queue of a class or of labels goes with its last job, and never while something of it is left", async () => {
  await using world = openQueueWorld({ keep: { ...KEEP, completedMs: 1 } });
  const { redis, keys, upkeep, store } = world;
  const names = new PoolNames({ redis, keys });
  const pool = "default+mem.small+zone=a";
  const vmId = await submitTo(world, { memoryClass: "small", hostLabels: { zone: "a" } });
  expect(await names.retire(pool)).toBe(false);
  await store.requestRemoval({ vmId, reason: "requested", by: "me" });
  expect(await names.retire(pool), "its job is kept as long as its record").toBe(false);
  await waitFor(async () => (await upkeep.purgeExpired(10)) === 1);
  expect(await names.all()).toEqual([]);
  expect((await redis.keys(`${keys.prefix}:*`)).filter((key) => key.includes("zone=a"))).toEqual([]);

  const next = await submitTo(world, { memoryClass: "small", hostLabels: { zone: "a" } });
  expect(await names.all()).toEqual([pool]);
  await redis.zadd(keys.pendingJobs, Date.now(), randomUUID());
  await redis.del(keys.bull(`vm.${pool}`, "prioritized"), keys.bull(`vm.${pool}`, next));
  expect(await names.retire(pool), "a job may be on its way").toBe(false);
  await redis.del(keys.pendingJobs);
  await redis.hset(keys.bull(`vm.${pool}`, "meta"), "paused", 1);
  expect(await names.retire(pool), "that it is paused would be forgotten").toBe(false);
  await redis.hdel(keys.bull(`vm.${pool}`, "meta"), "paused");
  expect(await names.retire(pool)).toBe(true);
  await submitTo(world, {});
  expect(await names.retire("default"), "one without needs stays").toBe(false);
});

test("the API warns of a VM that nobody could run, and says why each one waits and where it stands", async () => {
  await using world = await openHttpWorld();
  const { app, keys, redis, deps } = world;
  const submit = async (body: object) =>
    VmAccepted.parse((await app.inject({ method: "POST", url: "/v1/vms", payload: body })).json());
  const show = async (id: string) => VmDetail.parse((await app.inject(`/v1/vms/${id}`)).json()).waiting;
  const describe = async (over: Partial<HostDescription>) => {
    await deps.hosts.take(hostDescription({ hostId: "host-a", ...over }), LEASE_MS);
  };
  const offer = { tee: "none", gpu: false, ownSize: true, memoryClasses: { small: 1 }, labels: { zone: "a" } } as const;
  const room = { slots: 0, ports: 5, teeKeys: null, memoryBytes: null, sizes: ["", "small"], gpu: false };
  await describe({ offer: { ...offer, labels: { zone: "a" } }, room });

  const plain = await submit({});
  expect(plain.warnings).toEqual([]);
  const behind = await submit({});
  const odd = await submit({ memoryClass: "huge", hostLabels: { zone: "a" } });
  expect(odd).toMatchObject({ pool: "default", spec: { memoryClass: "huge" } });
  expect(odd.warnings).toEqual([
    {
      code: "no_host_fits",
      message: "No live host of the pool default has all that it needs; missing: the memory class huge.",
    },
  ]);
  expect(await show(plain.id)).toMatchObject({ reason: "hosts_full", position: 1, hostsThatFit: 1, freeSlots: 0 });
  expect(await show(odd.id)).toMatchObject({ reason: "no_host_fits", position: 1, hostsThatFit: 0 });
  await describe({ offer: { ...offer, labels: { zone: "a" } }, room: { ...room, slots: 2 } });
  await waitFor(async () => (await show(behind.id))?.reason === "behind_others"); // hosts are read once a second
  expect(await show(behind.id)).toMatchObject({ position: 2, hostsWithRoom: 1, freeSlots: 2 });
  const { items } = VmList.parse((await app.inject("/v1/vms")).json());
  expect(items.map(({ waiting }) => waiting?.reason)).toEqual(["no_host_fits", "behind_others", "starting_soon"]);

  const queue = new Queue("vm.default", { connection: redis, prefix: keys.prefix });
  await queue.pause();
  expect(await show(plain.id)).toMatchObject({ reason: "paused", position: 1 });
  await queue.resume();
  await queue.close();
  const priority = await redis.zscore(keys.bull("vm.default", "prioritized"), plain.id);
  await redis.zrem(keys.bull("vm.default", "prioritized"), plain.id);
  expect(await show(plain.id)).toMatchObject({ reason: "just_accepted", position: null });
  await redis.zadd(keys.bull("vm.default", "delayed"), (Date.now() + 60_000) * 0x1000, plain.id);
  const later = await show(plain.id);
  expect(later).toMatchObject({ reason: "retry_later", position: null });
  expect(Date.parse(later?.retryAt ?? "") - Date.now()).toBeGreaterThan(50_000);
  expect(priority).not.toBeNull();
});

test.each([
  [{ memoryClass: "Large" }, "memoryClass"],
  [{ hostLabels: { zone: "a+b" } }, "hostLabels.zone"],
  [{ hostLabels: { a: "1", b: "1", c: "1", d: "1", e: "1" } }, "hostLabels"],
])("a request with %o is refused: it could not be the name of a queue", async (body, field) => {
  await using world = await openHttpWorld();
  const answer = await world.app.inject({ method: "POST", url: "/v1/vms", payload: body });
  expect(answer.statusCode).toBe(400);
  expect(answer.json()).toMatchObject({ code: "invalid_request", problems: [{ field }] });
});
