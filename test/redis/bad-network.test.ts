import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { type RunningApi, startApi } from "../../src/producer/start-api.ts";
import { openRedis } from "../../src/queue/connection.ts";
import { EventFeed } from "../../src/queue/event-feed.ts";
import { JobClaims } from "../../src/queue/job-claims.ts";
import { LaunchStore } from "../../src/queue/launch-store.ts";
import { PoolWaiter } from "../../src/queue/pool-waiter.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { KEEP, openQueueWorld } from "../helpers/queue-world.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { testConfig } from "./http-world.ts";

/** Half-open connections are found within this time, whatever they are for. */
const FOUND_MAX_MS = 15_000;
/** Clients are promised 250 ms; a loaded test machine may take longer, a hang takes seconds. */
const ANSWER_MAX_MS = 1_000;
const logger = pino({ level: "silent" });

/** A key prefix of its own, and a way to Redis that can be made bad. */
async function openNetwork() {
  const scope = new Scope();
  const world = scope.own(openQueueWorld(), (opened) => opened[Symbol.asyncDispose]());
  const proxy = scope.own(await startRedisProxy(world.url), (started) => started[Symbol.asyncDispose]());
  const { keys, hostId } = world;
  const open = (role: "worker" | "blocking", name: string) =>
    scope.own(openRedis({ url: proxy.url, role, name, logger }), (client) => client.disconnect());
  return {
    scope,
    world,
    proxy,
    open,
    /** What a worker needs to fetch and to launch, connected. */
    async openHost(options: { fetchWaitMaxMs?: number } = {}) {
      const redis = open("worker", "worker");
      const claims = scope.own(new JobClaims({ redis, keys, hostId, logger, ...options }), (owned) => owned.close());
      const range = { first: 6100, last: 6200, reserved: [] };
      const launches = new LaunchStore({ redis, keys, bootId: "b", range, eventsMax: 1_000, keep: KEEP });
      const waiter = new PoolWaiter({ redis: open("blocking", "wait"), keys, hostId: "host-a" });
      await claims.fetch("default", "host-a:s:b:0");
      await waiter.wait(["default"], 1);
      return { claims, launches, waiter };
    },
    async openApi(): Promise<RunningApi> {
      const config = testConfig({ url: proxy.url, prefix: keys.prefix });
      const api = scope.own(await startApi({ config, logger }), (running) => running.close());
      await waitFor(async () => (await submit(api)).status === 202);
      await world.fetch(); // that one was only to see that it serves
      return api;
    },
    active: () => world.redis.lrange(keys.bull("vm.default", "active"), 0, -1),
    [Symbol.asyncDispose]: () => scope.close(),
  };
}

async function submit(api: RunningApi): Promise<{ status: number; ms: number }> {
  const startedMs = performance.now();
  const init = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
  const { status } = await fetch(`${api.url}/v1/vms`, { ...init, signal: AbortSignal.timeout(10_000) });
  return { status, ms: performance.now() - startedMs };
}

// They mostly wait for bounds to pass, so they do it together.
describe.concurrent("a network that", () => {
  test.each([500, 5_000])(
    "answers after %d ms: the API stays bounded, a worker works on, slowly",
    async (roundTripMs) => {
      await using network = await openNetwork();
      const { world, proxy } = network;
      const [api, host] = [await network.openApi(), await network.openHost()];
      const vmId = await world.submit();
      proxy.slow(roundTripMs / 2);
      const answers = await Promise.all([submit(api), submit(api)]);
      for (const { status, ms } of answers) {
        expect(status, "a Redis as slow as this is silent to clients").toBe(503);
        expect(ms).toBeLessThan(ANSWER_MAX_MS);
      }
      const job = await host.claims.fetch("default", "host-a:s:b:1");
      expect(job).toMatchObject({ vmId, epoch: 1 });
      if (job === undefined) return;
      expect((await host.launches.prepare(world.identity(job), {})).kind).toBe("prepared");
      proxy.slow(0);
      await waitFor(async () => (await submit(api)).status === 202, {
        timeoutMs: 15_000,
        what: "the API to serve again",
      });
      expect(await network.active()).toContain(vmId);
    },
    60_000,
  );

  test("lets connections die without a word: they are found in time, and all goes on: API, fetches, waits, events", async () => {
    await using network = await openNetwork();
    const { scope, world, proxy } = network;
    const [api, host] = [await network.openApi(), await network.openHost()];
    const heard: string[] = [];
    const feed = new EventFeed({ redis: network.open("blocking", "events"), keys: world.keys, logger });
    scope.own(feed, (owned) => owned.stop());
    feed.subscribe((batch) => void heard.push(...batch.map(({ event }) => event.subject)));
    await feed.start();
    await waitFor(() => feed.lastId !== "0-0", { what: "the feed to stand at the newest event" });
    const waiting = host.waiter.wait(["default"], 5_000);
    proxy.halfOpen();

    const startedMs = performance.now();
    const vmId = await world.submit();
    const [job, sign] = await Promise.all([
      host.claims.fetch("default", "host-a:s:b:1"),
      waiting,
      waitFor(async () => (await submit(api)).status === 202, {
        timeoutMs: FOUND_MAX_MS,
        what: "the API to serve again",
      }),
      waitFor(() => heard.includes(vmId), { timeoutMs: FOUND_MAX_MS, what: "the event to be heard" }),
    ]);
    expect(job?.vmId).toBe(vmId);
    expect(sign, "a fetch has set the marker again").toBe("work");
    const tookMs = performance.now() - startedMs;
    console.info(`half-open connections: everything went on after ${Math.round(tookMs)} ms`);
    expect(tookMs).toBeLessThan(FOUND_MAX_MS);
  }, 60_000);

  test("drops everything, for connections old and new: nothing is doubled when it is back", async () => {
    await using network = await openNetwork();
    const { world, proxy } = network;
    const host = await network.openHost({ fetchWaitMaxMs: 1_000 });
    const vmIds = [await world.submit(), await world.submit()];
    const lift = proxy.blackhole();
    const fetching = host.claims.fetch("default", "host-a:s:b:1").catch((error: unknown) => error);
    const second = await fetching.then((first) => {
      lift();
      expect(String(first)).toContain("has not answered");
      return waitFor(() => host.claims.fetch("default", "host-a:s:b:2"), { timeoutMs: FOUND_MAX_MS });
    });
    expect(second).toMatchObject({ vmId: vmIds[0], token: "host-a:s:b:1" });
    expect(await network.active()).toEqual([vmIds[0]]);
  }, 60_000);
});
