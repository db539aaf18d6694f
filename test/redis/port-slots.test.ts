import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { expect, test } from "vitest";
import { openRedis } from "../../src/queue/connection.ts";
import { PortSlots } from "../../src/queue/port-slots.ts";
import { portStorm } from "../helpers/port-storm.ts";
import { openRedisWorld } from "../helpers/redis-world.ts";

const holder = () => ({ vmId: randomUUID(), epoch: 1, token: randomUUID() });

function slots(
  world: ReturnType<typeof openRedisWorld>,
  range: { first: number; last: number; reserved?: number[] },
): PortSlots {
  return new PortSlots({ redis: world.redis, keys: world.keys, bootId: "boot", range: { reserved: [], ...range } });
}

test("100,000 operations by eight clients: never two holders, never a lost port", { timeout: 120_000 }, async () => {
  await using world = openRedisWorld();
  const range = { first: 6100, last: 6200, reserved: [6101] };
  const connections = Array.from({ length: 8 }, () =>
    openRedis({ url: world.url, role: "worker", name: "storm", logger: pino({ level: "silent" }) }),
  );
  const clients = connections.map((redis) => new PortSlots({ redis, keys: world.keys, bootId: "boot", range }));
  try {
    const result = await portStorm(
      clients.flatMap((client) => [client, client, client, client]),
      100_000,
    );
    expect(result.violations).toEqual([]);
    expect(result.takes).toBeGreaterThan(10_000);
    expect(result.gives).toBe(result.takes);
    expect(await clients[0]?.list()).toEqual([]);
    expect(await clients[0]?.free()).toBe(100);
  } finally {
    for (const connection of connections) connection.disconnect();
  }
});

test("a take is idempotent per VM, epoch and token; another launch of the same VM gets no second port", async () => {
  await using world = openRedisWorld();
  const ports = slots(world, { first: 6100, last: 6102 });
  const first = holder();
  expect(await ports.take(first)).toBe(6100);
  expect(await ports.take(first)).toBe(6100);
  expect(await ports.take({ ...first, epoch: 2 })).toBeUndefined();
  expect(await ports.list()).toEqual([{ port: 6100, ...first }]);
});

test("only the holder gives a port back", async () => {
  await using world = openRedisWorld();
  const ports = slots(world, { first: 6100, last: 6100 });
  const first = holder();
  await ports.take(first);
  expect(await ports.give({ ...first, token: "x" }, 6100)).toBe(false);
  expect(await ports.give({ ...first, epoch: 9 }, 6100)).toBe(false);
  expect(await ports.give(holder(), 6100)).toBe(false);
  expect(await ports.give(first, 6100)).toBe(true);
  expect(await ports.give(first, 6100)).toBe(false);
});

test("never used ports come first, then the least recently used, and reserved ones never", async () => {
  await using world = openRedisWorld();
  const ports = slots(world, { first: 6100, last: 6103, reserved: [6102] });
  const [a, b, c] = [holder(), holder(), holder()];
  expect([await ports.take(a), await ports.take(b), await ports.take(c)]).toEqual([6100, 6101, 6103]);
  expect(await ports.take(holder())).toBeUndefined();
  await ports.give(b, 6101);
  expect(await ports.give(a, 6100)).toBe(true);
  expect(await ports.take(holder())).toBe(6101);
});

test("a port that is set aside is not taken until its time is over", async () => {
  await using world = openRedisWorld();
  const ports = slots(world, { first: 6100, last: 6100 });
  const first = holder();
  await ports.take(first);
  await ports.give(first, 6100, 150);
  expect(await ports.free()).toBe(0);
  const next = holder();
  expect(await ports.take(next)).toBeUndefined();
  await expect.poll(() => ports.take(next), { timeout: 5_000 }).toBe(6100);
});

test("another worker of the machine with a range of its own takes nothing from this one's", async () => {
  await using world = openRedisWorld();
  const [here, there] = [slots(world, { first: 6100, last: 6101 }), slots(world, { first: 6200, last: 6209 })];
  for (let count = 0; count < 5; count++) await there.take(holder());
  const [first, second] = [holder(), holder()];
  expect(await here.free()).toBe(2);
  await here.take(first);
  expect(await here.free()).toBe(1);
  expect(await here.give(first, 6100, 60_000)).toBe(true);
  expect(await here.free(), "a port that is set aside is none").toBe(1);
  expect(await here.take(second)).toBe(6101);
  expect([await here.free(), await there.free()]).toEqual([0, 5]);
});
