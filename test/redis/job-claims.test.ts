import { expect, test, vi } from "vitest";
import { openRedis } from "../../src/queue/connection.ts";
import { type ClaimedJob, JobClaims } from "../../src/queue/job-claims.ts";
import { openQueueWorld } from "../helpers/queue-world.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { waitFor } from "../helpers/wait-for.ts";

/** A worker's claims over a connection that can be blocked, with a short patience. */
async function openBlockable(fetchWaitMaxMs = 500) {
  const world = openQueueWorld();
  const proxy = await startRedisProxy(world.url);
  const redis = openRedis({ url: proxy.url, role: "worker", name: "claims", logger: world.logger });
  const late: ClaimedJob[] = [];
  const claims = new JobClaims({
    redis,
    keys: world.keys,
    hostId: world.hostId,
    logger: world.logger,
    onLate: (job) => late.push(job),
    fetchWaitMaxMs,
  });
  expect(await claims.fetch("default", "t:0")).toBeUndefined(); // connected, and Redis knows the script
  return {
    world,
    claims,
    late,
    proxy,
    active: () => world.redis.lrange(world.keys.bull("vm.default", "active"), 0, -1),
    async [Symbol.asyncDispose]() {
      await claims.close();
      redis.disconnect();
      await proxy[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

/** Redis goes on where it was held up: the connection is cut, and ioredis sends again what had no answer. */
async function holdUp({ proxy }: { proxy: Awaited<ReturnType<typeof startRedisProxy>> }) {
  const lift = proxy.blackhole();
  return () => {
    lift();
    proxy.reset();
  };
}

test("a fetch that is not answered in time is not doubled: the next call gets its job, under its token", async () => {
  await using host = await openBlockable();
  const vmIds = [await host.world.submit(), await host.world.submit()];
  const resume = await holdUp(host);
  await expect(host.claims.fetch("default", "t:1")).rejects.toThrow("has not answered a fetch within 500 ms");
  await expect(host.claims.fetch("default", "t:2")).rejects.toThrow("has not answered");
  const third = host.claims.fetch("default", "t:3");
  resume();
  expect(await third).toMatchObject({ vmId: vmIds[0], token: "t:1", epoch: 1 });
  expect(await host.active()).toEqual([vmIds[0]]);
  expect(host.late).toEqual([]);
  expect(await host.claims.fetch("default", "t:4")).toMatchObject({ vmId: vmIds[1], token: "t:4" });
});

test("a job that comes when nobody waits for it is handed over to go back", async () => {
  await using host = await openBlockable();
  const vmId = await host.world.submit();
  const resume = await holdUp(host);
  await expect(host.claims.fetch("default", "t:1")).rejects.toThrow("has not answered");
  resume();
  const job = await waitFor(() => host.late[0], { what: "the late job" });
  expect(job).toMatchObject({ vmId, token: "t:1" });
  await host.claims.giveBack(job, 60_000);
  expect(await host.active()).toEqual([]);
  expect(await host.claims.fetch("default", "t:2"), "and a fetch is possible again").toBeUndefined();
});

test("a fetch that Redis refuses leaves nothing behind that would hold up the next", async () => {
  await using host = await openBlockable(5_000);
  const vmId = await host.world.submit();
  const { redis, keys } = host.world;
  await redis.rename(keys.bull("vm.default", "prioritized"), keys.bull("vm.default", "aside"));
  await redis.set(keys.bull("vm.default", "prioritized"), "no sorted set");
  await expect(host.claims.fetch("default", "t:1")).rejects.toThrow("WRONGTYPE");
  await redis.rename(keys.bull("vm.default", "aside"), keys.bull("vm.default", "prioritized"));
  expect(await host.claims.fetch("default", "t:2")).toMatchObject({ vmId, token: "t:2" });
});

test("two fetches at once are a mistake", async () => {
  await using host = await openBlockable(5_000);
  const resume = await holdUp(host);
  const first = host.claims.fetch("default", "t:1");
  await expect(host.claims.fetch("default", "t:2")).rejects.toThrow("only one fetch at a time");
  resume();
  expect(await first).toBeUndefined();
});

test("a connection that dies without a word is found, and the fetch on it comes back by another", async () => {
  await using world = openQueueWorld();
  await using proxy = await startRedisProxy(world.url);
  const warn = vi.spyOn(world.logger, "warn");
  const redis = openRedis({ url: proxy.url, role: "worker", name: "claims", logger: world.logger });
  const claims = new JobClaims({ redis, keys: world.keys, hostId: world.hostId, logger: world.logger });
  await claims.fetch("default", "t:0");
  const vmId = await world.submit();
  proxy.halfOpen();
  const startedMs = performance.now();
  expect(await claims.fetch("default", "t:1")).toMatchObject({ vmId });
  expect(performance.now() - startedMs).toBeLessThan(12_000);
  expect(JSON.stringify(warn.mock.calls)).toContain("Socket timeout");
  await claims.close();
  redis.disconnect();
});
