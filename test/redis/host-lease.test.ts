import { pino } from "pino";
import { expect, test } from "vitest";
import { HostRegistry } from "../../src/queue/host-registry.ts";
import { LeaseKeeper } from "../../src/worker/lease-keeper.ts";
import { FakeClock } from "../helpers/fake-clock.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { openRedisWorld } from "../helpers/redis-world.ts";
import { waitFor } from "../helpers/wait-for.ts";

const TTL_MS = 30_000;
const logger = pino({ level: "silent" });

function openHosts() {
  const world = openRedisWorld();
  return { ...world, hosts: new HostRegistry(world) };
}

test("a free host id is taken with its description, and taken again by the same worker", async () => {
  await using world = openHosts();
  const host = hostDescription();
  expect(await world.hosts.take(host, TTL_MS)).toEqual({ kind: "taken" });
  expect(await world.hosts.take(host, TTL_MS)).toEqual({ kind: "taken" });
  const [known] = await world.hosts.hosts();
  expect(known).toMatchObject({ hostId: "host-a", description: host, awayUntilMs: undefined });
  expect(known?.lease).toMatchObject({ stateId: "state", bootId: "boot" });
  expect(known?.lease?.leftMs).toBeGreaterThan(TTL_MS - 5_000);
  expect(Math.abs((known?.nowMs ?? 0) - (known?.seenAtMs ?? 0))).toBeLessThan(5_000);
});

test.each([
  ["another machine with the same id", { stateId: "other", bootId: "other" }],
  ["the same machine with another state directory", { stateId: "other" }],
  ["another machine with a copy of the state directory", { bootId: "other" }],
])("%s is held off and changes nothing", async (_who, over) => {
  await using world = openHosts();
  await world.hosts.take(hostDescription({ version: "first" }), TTL_MS);
  const second = hostDescription({ ...over, version: "second" });
  for (const outcome of [await world.hosts.take(second, TTL_MS), await world.hosts.renew(second, TTL_MS)]) {
    expect(outcome).toMatchObject({ kind: "held", by: { stateId: "state", bootId: "boot" } });
  }
  expect(await world.hosts.withdraw(second)).toBe(false);
  expect(await world.hosts.goAway(second, 60_000)).toBe(false);
  expect(await world.hosts.host("host-a")).toMatchObject({
    description: { version: "first" },
    lease: { stateId: "state" },
    awayUntilMs: undefined,
  });
});

test("of many that take one host id at the same moment, one gets it", async () => {
  await using world = openHosts();
  const takers = Array.from({ length: 20 }, (_, index) => hostDescription({ stateId: `state-${index}` }));
  const outcomes = await Promise.all(takers.map((host) => world.hosts.take(host, TTL_MS)));
  expect(outcomes.filter(({ kind }) => kind === "taken")).toHaveLength(1);
});

test("a lease that lapsed is another's to take, and the first one hears of it when it renews", async () => {
  await using world = openHosts();
  const first = hostDescription();
  const second = hostDescription({ stateId: "other" });
  await world.hosts.take(first, 1);
  await waitFor(async () => (await world.hosts.leases(["host-a"])).size === 0, { what: "the lease to lapse" });
  expect(await world.hosts.take(second, TTL_MS)).toEqual({ kind: "taken" });
  expect(await world.hosts.renew(first, TTL_MS)).toMatchObject({ kind: "held", by: { stateId: "other" } });
});

test("a lease that Redis has lost is there again with the next renewal, and the host known", async () => {
  await using world = openHosts();
  const host = hostDescription();
  await world.hosts.take(host, TTL_MS);
  await world.redis.del(world.keys.lease("host-a"), world.keys.host("host-a"), world.keys.hosts);
  expect(await world.hosts.renew(host, TTL_MS)).toEqual({ kind: "taken" });
  expect(await world.hosts.liveHosts("default")).toEqual([host]);
});

test("a host that leaves VMs behind is away until it is taken again, not by a late renewal", async () => {
  await using world = openHosts();
  const host = hostDescription();
  await world.hosts.take(host, TTL_MS);
  expect(await world.hosts.goAway(host, 60_000)).toBe(true);
  const away = await world.hosts.host("host-a");
  expect(away?.lease).toBeUndefined();
  expect((away?.awayUntilMs ?? 0) - (away?.nowMs ?? 0)).toBeGreaterThan(50_000);
  await world.hosts.renew(host, TTL_MS);
  expect((await world.hosts.host("host-a"))?.awayUntilMs).toBe(away?.awayUntilMs);
  await world.hosts.take(host, TTL_MS);
  expect((await world.hosts.host("host-a"))?.awayUntilMs).toBeUndefined();
});

test("live hosts are those with a lease that serve the pool", async () => {
  await using world = openHosts();
  const gone = hostDescription({ hostId: "gone" });
  await world.hosts.take(gone, TTL_MS);
  await world.hosts.withdraw(gone);
  await world.hosts.take(hostDescription({ hostId: "gpu", pools: ["gpu"] }), TTL_MS);
  await world.hosts.take(hostDescription({ hostId: "b", pools: ["gpu", "default"] }), TTL_MS);
  expect((await world.hosts.liveHosts("default")).map(({ hostId }) => hostId)).toEqual(["b"]);
});

test("who serves a pool is what the host says of its queues, where it says so: its GPU may be gone", async () => {
  await using world = openHosts();
  await world.hosts.take(hostDescription({ hostId: "plain", serves: ["default", "@plain"] }), TTL_MS);
  const serves = ["default+gpu", "@big+gpu", "default", "@big"];
  await world.hosts.take(hostDescription({ hostId: "big", serves, gpu: "0000:41:00.0" }), TTL_MS);
  await world.hosts.take(hostDescription({ hostId: "earlier" }), TTL_MS);
  const live = async (pool: string) => (await world.hosts.liveHosts(pool)).map(({ hostId }) => hostId).sort();
  expect(await live("default+gpu")).toEqual(["big"]);
  expect(await live("default")).toEqual(["big", "earlier", "plain"]);
  expect(await live("@plain")).toEqual(["plain"]);
});

test("what a worker of an earlier version wrote is read, and what nobody can read does no harm", async () => {
  await using world = openHosts();
  const { policy: _policy, leaseMs: _leaseMs, breaker: _breaker, ...earlier } = hostDescription();
  await world.redis.sadd(world.keys.hosts, "host-a", "odd");
  await world.redis.hset(world.keys.host("host-a"), "description", JSON.stringify(earlier));
  await world.redis.hset(world.keys.host("odd"), "description", "{not json");
  await world.redis.set(world.keys.lease("odd"), "not json");
  const [a, odd] = await world.hosts.hosts();
  expect(a).toMatchObject({ description: earlier, lease: undefined, seenAtMs: undefined });
  expect(a?.description?.policy).toBeUndefined();
  expect(odd).toMatchObject({ description: undefined, lease: { stateId: "unknown" } });
  expect(await world.hosts.take(hostDescription({ hostId: "odd" }), TTL_MS)).toMatchObject({ kind: "held" });
});

test("a worker whose state directory was wiped waits for the lease of the one before to lapse", async () => {
  await using world = openHosts();
  const clock = new FakeClock();
  await world.hosts.take(hostDescription(), TTL_MS);
  const wiped = hostDescription({ stateId: "new" });
  const taken = LeaseKeeper.take({ ...world, description: wiped, ttlMs: TTL_MS, renewMs: 5_000, clock, logger });
  await waitFor(() => clock.sleepers === 1, { what: "it to wait" });
  // In place of 30 s: the lease shrinks, and lapses.
  await world.redis.pexpire(world.keys.lease("host-a"), 20_000);
  clock.advance(10_000);
  await waitFor(() => clock.sleepers === 1, { what: "it to wait on" });
  await world.redis.del(world.keys.lease("host-a"));
  clock.advance(10_000);
  const keeper = await taken;
  expect(keeper.isSurelyValid()).toBe(true);
  expect((await world.hosts.leases(["host-a"])).get("host-a")).toMatchObject({ stateId: "new" });
});

test("a host id whose worker lives is refused with the way out", async () => {
  await using world = openHosts();
  const clock = new FakeClock();
  await world.hosts.take(hostDescription(), TTL_MS);
  const second = hostDescription({ stateId: "new" });
  const taken = LeaseKeeper.take({ ...world, description: second, ttlMs: TTL_MS, renewMs: 5_000, clock, logger });
  const refused = expect(taken).rejects.toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(/host id "host-a" is in use.*MANAGER_INSTANCE_ID/),
  });
  await waitFor(() => clock.sleepers === 1, { what: "it to wait" });
  await world.hosts.renew(hostDescription(), TTL_MS);
  clock.advance(5_000);
  await refused;
});

test("a keeper that leaves says how long it may be away; its lease is gone at once", async () => {
  await using world = openHosts();
  const clock = new FakeClock();
  const options = { ...world, description: hostDescription(), ttlMs: TTL_MS, renewMs: 5_000, clock, logger };
  const keeper = await LeaseKeeper.take(options);
  keeper.start({ isTurning: () => true });
  expect(await keeper.leave(60_000)).toBe(true);
  const away = await world.hosts.host("host-a");
  expect([away?.lease, (away?.awayUntilMs ?? 0) > (away?.nowMs ?? 0)]).toEqual([undefined, true]);
  expect(keeper.isSurelyValid()).toBe(false);
});
