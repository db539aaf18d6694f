import { pino } from "pino";
import { describe, expect, test, vi } from "vitest";
import { HostDetail, HostList } from "../../src/contract/host-view.ts";
import { openRedis } from "../../src/queue/connection.ts";
import type { HostDescription } from "../../src/queue/host-description.ts";
import { Reaper } from "../../src/queue/reaper.ts";
import { RemovalJobs } from "../../src/queue/removal-jobs.ts";
import { hostDescription } from "../helpers/host-descriptions.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { openTestHost } from "./http-host.ts";
import { type HttpWorld, openHttpWorld } from "./http-world.ts";

const TTL_MS = 3_600_000;
const DAY_MS = 24 * 3_600_000;
const logger = pino({ level: "silent" });

const lives = (world: HttpWorld, over: Partial<HostDescription> = {}) =>
  world.deps.hosts.take(hostDescription(over), TTL_MS);
const show = async (world: HttpWorld, id = "host-a") =>
  HostDetail.parse((await world.app.inject(`/v1/hosts/${id}`)).json());
const wish = (world: HttpWorld, what: string, id = "host-a") =>
  world.app.inject({ method: "POST", url: `/v1/hosts/${id}/${what}` });
const forget = (world: HttpWorld) => world.app.inject({ method: "DELETE", url: "/v1/hosts/host-a" });

/** The worker says what it has heard, as it does with the renewal after. */
async function heeds(world: HttpWorld, held = 0): Promise<void> {
  const outcome = await lives(world);
  if (outcome.kind !== "taken" || outcome.wish === undefined) throw new Error("there is nothing to heed");
  const { kind, atMs } = outcome.wish;
  await world.deps.hosts.renew(hostDescription({ wish: { kind, atMs, held } }), TTL_MS);
}

test("a wish is told with who, when and why, stands beside what the host says of itself, and reaches its worker", async () => {
  const log: string[] = [];
  await using world = await openHttpWorld({ log });
  await lives(world);
  expect((await show(world)).admission).toEqual({
    state: "open",
    since: null,
    by: null,
    note: null,
    evacuatesAt: null,
    heeded: true,
    done: false,
    held: 0,
  });
  const reply = await wish(world, "cordon?note=memory%20errors");
  expect(reply.statusCode).toBe(200);
  const told = HostDetail.parse(reply.json()).admission;
  expect(told).toMatchObject({ state: "cordoned", by: "local", note: "memory errors", heeded: false, done: false });
  expect(Date.now() - Date.parse(told.since ?? "")).toBeLessThan(10_000);
  expect(log.map((line) => JSON.parse(line)).filter(({ audit }) => audit === true)).toMatchObject([
    { action: "host.cordon", target: "host-a", outcome: "ok", owner: "local" },
  ]);
  await lives(world, { version: "2.0.0", stateId: "state" }); // its worker is started anew
  expect(await show(world)).toMatchObject({ version: "2.0.0", admission: { state: "cordoned", heeded: false } });
  await heeds(world);
  expect((await show(world)).admission).toMatchObject({ state: "cordoned", heeded: true, done: false });
  await wish(world, "resume");
  expect((await show(world)).admission).toMatchObject({ state: "open", by: "local", note: null, heeded: false });
});

test("the same wish again is no error and keeps its time; another one replaces it", async () => {
  await using world = await openHttpWorld();
  await lives(world);
  const first = HostDetail.parse((await wish(world, "drain?timeout=30m")).json()).admission;
  await world.redis.hincrby(world.keys.host("host-a"), "wishAtMs", -60_000);
  const again = HostDetail.parse((await wish(world, "drain?timeout=30m")).json()).admission;
  expect(Date.parse(first.since ?? "") - Date.parse(again.since ?? "")).toBe(60_000);
  expect(Date.parse(again.evacuatesAt ?? "") - Date.parse(again.since ?? "")).toBe(30 * 60_000);
  const other = HostDetail.parse((await wish(world, "drain?timeout=1h")).json()).admission;
  expect(Date.parse(other.since ?? "")).toBeGreaterThan(Date.parse(again.since ?? ""));
  await world.redis.hincrby(world.keys.host("host-a"), "wishAtMs", -3_600_000);
  expect((await show(world)).admission.state, "its time is over").toBe("evacuating");
});

test("a drain or an evacuation is done when the worker has heard it and the host has no VM", async () => {
  await using world = await openHttpWorld();
  await using host = openTestHost(world);
  await lives(world);
  await world.app.inject({ method: "POST", url: "/v1/vms", payload: {} });
  const launched = await host.take();
  await host.run(launched);
  await wish(world, "evacuate");
  await heeds(world, 1);
  expect((await show(world)).admission).toMatchObject({ state: "evacuating", heeded: true, done: false, held: 1 });
  await host.complete(launched);
  expect((await show(world)).admission).toMatchObject({ state: "evacuating", done: true });
  await wish(world, "drain");
  expect((await show(world)).admission, "not heard yet").toMatchObject({ state: "draining", done: false });
});

test.each([
  ["drain", 409],
  ["evacuate", 409],
  ["cordon", 200],
  ["resume", 200],
])("%s of a host that is lost is answered %i", async (what, status) => {
  await using world = await openHttpWorld();
  await lives(world);
  await world.redis.del(world.keys.lease("host-a"));
  expect((await wish(world, what)).statusCode, "silent: it may come back").toBe(200);
  await world.redis.hset(world.keys.host("host-a"), "seenAtMs", Date.now() - 61_000);
  const reply = await wish(world, what);
  expect(reply.statusCode).toBe(status);
  if (status === 409)
    expect(reply.json()).toMatchObject({ code: "host_state", detail: expect.stringContaining("forget") });
});

test("what is no host, no note or no time is refused", async () => {
  await using world = await openHttpWorld();
  for (const what of ["cordon", "drain", "evacuate", "resume"]) {
    const reply = await wish(world, what, "nobody");
    expect([reply.statusCode, reply.json().code]).toEqual([404, "host_not_found"]);
  }
  expect(await world.redis.exists(world.keys.host("nobody")), "nothing is left of it").toBe(0);
  await lives(world);
  for (const query of [
    "drain?timeout=soon",
    "drain?timeout=",
    "drain?timeout=-5m",
    `cordon?note=${"x".repeat(201)}`,
    "cordon?timeout=5m",
  ])
    expect((await wish(world, query)).json().code, query).toBe("invalid_request");
});

test("only an operator may want something of a host", async () => {
  await using world = await openHttpWorld({
    identify: async () => ({ owner: "eve", role: "submitter", via: "token", tokenId: "t1" }),
  });
  await lives(world);
  for (const what of ["cordon", "drain", "evacuate", "resume"]) expect((await wish(world, what)).statusCode).toBe(403);
});

test("a wish that nobody can read is a newer version's: the host takes no VM", async () => {
  await using world = await openHttpWorld();
  await lives(world);
  await world.redis.hset(world.keys.host("host-a"), "wish", '{"kind":"sleeping"}', "wishAtMs", "5");
  expect(await lives(world)).toMatchObject({ kind: "taken", wish: { kind: "cordoned", by: "unknown", atMs: 5 } });
});

test("a worker is woken for a wish, and one that does not know such a job leaves nothing behind", async () => {
  await using world = await openHttpWorld();
  await lives(world);
  const connection = openRedis({ url: world.deps.config.redis.url, role: "worker", name: "wake", logger });
  const onWish = vi.fn(() => undefined);
  const onRemoval = vi.fn(async () => undefined);
  const jobs = new RemovalJobs({ redis: connection, keys: world.keys, hostId: "host-a", logger, onRemoval, onWish });
  try {
    await wish(world, "cordon");
    await waitFor(() => onWish.mock.calls.length === 1, { what: "the worker to be woken" });
    onWish.mockImplementation(() => {
      throw new Error("what kind of removal is this?");
    });
    await wish(world, "resume");
    await waitFor(() => onWish.mock.calls.length === 2, { what: "the worker to be woken again" });
    const key = (part: string) => world.keys.bull("vm-remove.host-a", part);
    await waitFor(async () => (await world.redis.llen(key("active"))) === 0, { what: "the job to be settled" });
    expect([await world.redis.zcard(key("failed")), await world.redis.zcard(key("completed"))]).toEqual([0, 0]);
    expect(onRemoval).not.toHaveBeenCalled();
  } finally {
    await jobs.close();
    connection.disconnect();
  }
});

describe("a host that left without a VM", () => {
  const left = async (world: HttpWorld, forMs: number) => {
    await lives(world);
    await world.deps.queue.notifyRemoval("host-a", "11111111-1111-4111-8111-111111111111");
    await world.deps.hosts.withdraw(hostDescription());
    await world.redis.hincrby(world.keys.host("host-a"), "leftAtMs", -forMs);
    await world.redis.hset(world.keys.host("host-a"), "seenAtMs", Date.now() - forMs);
  };
  const round = (world: HttpWorld) => new Reaper({ ...world.deps, logger }).round();
  const keysOf = async (world: HttpWorld) => {
    const all = await world.redis.keys(`${world.keys.prefix}:*`);
    return all.filter((key) => key.includes("host-a"));
  };

  test("is gone, not lost, and forgotten after a day with the keys of its queue", async () => {
    await using world = await openHttpWorld();
    await left(world, DAY_MS - 60_000);
    expect((await show(world)).status).toBe("gone");
    await round(world);
    expect((await show(world)).status).toBe("gone");
    await world.redis.hincrby(world.keys.host("host-a"), "leftAtMs", -61_000);
    await round(world);
    expect(HostList.parse((await world.app.inject("/v1/hosts")).json()).items).toEqual([]);
    expect(await keysOf(world)).toEqual([]);
  });

  test("is kept while it is wanted otherwise than open, or has come back", async () => {
    await using world = await openHttpWorld();
    await left(world, 2 * DAY_MS);
    await wish(world, "cordon");
    await round(world);
    expect(await show(world)).toMatchObject({ status: "gone", admission: { state: "cordoned" } });
    await lives(world);
    await wish(world, "resume");
    await world.redis.del(world.keys.lease("host-a"));
    await round(world);
    expect((await show(world)).status, "it came back, and has not left since").not.toBe("gone");
  });

  test("is kept in the very moment in which it is wanted otherwise", async () => {
    await using world = await openHttpWorld();
    await left(world, 2 * DAY_MS);
    const seen = await world.deps.hosts.host("host-a"); // as a reaper saw it, before the cordon
    await wish(world, "cordon");
    if (seen === undefined) throw new Error("the host is not there");
    expect(await world.deps.hosts.removeGone(seen, DAY_MS)).toBe(false);
    await wish(world, "resume");
    expect(await world.deps.hosts.removeGone(seen, DAY_MS)).toBe(true);
  });

  test("is forgotten by hand at once, and comes back as any new one", async () => {
    await using world = await openHttpWorld();
    await left(world, 0);
    await wish(world, "cordon");
    expect((await forget(world)).statusCode).toBe(200);
    expect(await keysOf(world)).toEqual([]);
    expect(await lives(world)).toEqual({ kind: "taken", wish: undefined });
  });
});
