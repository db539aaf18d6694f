import { expect, test } from "vitest";
import type { HostOffer } from "../../../src/contract/placement.ts";
import { PoolWatch } from "../../../src/worker/pool-watch.ts";
import { FakeClock } from "../../helpers/fake-clock.ts";

const OFFER: HostOffer = {
  pools: ["default"],
  hostId: "h",
  tee: "none",
  hasGpu: true,
  ownSize: true,
  memoryClasses: ["small"],
  labels: { zone: "a" },
};
const BASE = { gpu: ["default+gpu"], others: ["default", "@h"] };

function openWatch(names: string[]) {
  const clock = new FakeClock();
  const asked: number[] = [];
  const watch = new PoolWatch({
    offer: OFFER,
    base: BASE,
    names: {
      all: async () => names,
      async busy(pools) {
        asked.push(pools.length);
        return pools;
      },
    },
    clock,
  });
  return { watch, clock, asked };
}

test("of the queues that there are those are looked at whose needs the host meets", async () => {
  const names = ["default", "default+tdx", "default+mem.small", "default+zone=b", "default+gpu+zone=a", "x+zone=a"];
  const { watch, asked } = openWatch(names);
  expect(watch.served).toEqual(BASE);
  expect(await watch.look()).toBe(true);
  expect(watch.served).toEqual({
    gpu: ["default+gpu", "default+gpu+zone=a"],
    others: ["default", "@h", "default+mem.small"],
  });
  expect(asked, "few need not be asked").toEqual([]);
});

test("a queue that comes is found after seconds, or at once when somebody rings; one that went is left", async () => {
  const names: string[] = [];
  const { watch, clock } = openWatch(names);
  await watch.look();
  names.push("default+zone=a");
  expect(await watch.look()).toBe(false);
  expect(watch.served.others).toEqual(BASE.others);
  watch.expectNew();
  expect(await watch.look()).toBe(true);
  expect(watch.served.others).toEqual([...BASE.others, "default+zone=a"]);
  names.length = 0;
  clock.advance(5_000);
  expect(await watch.look()).toBe(false);
  expect(watch.served).toEqual(BASE);
});

test("of very many queues those are looked at in which something waits, and each has its turn", async () => {
  const classes = Array.from({ length: 1_000 }, (_, i) => `class-${i}`);
  const names = classes.map((name) => `default+mem.${name}`);
  const clock = new FakeClock();
  const asked: number[] = [];
  const watch = new PoolWatch({
    offer: { ...OFFER, memoryClasses: classes },
    base: BASE,
    names: {
      all: async () => names,
      async busy(pools) {
        asked.push(pools.length);
        return pools.filter((pool) => pool.endsWith("7"));
      },
    },
    clock,
  });
  const seen = new Set<string>();
  for (let round = 0; round < 10; round++) {
    await watch.look();
    expect(watch.served.others.length).toBeLessThanOrEqual(BASE.others.length + 32);
    for (const pool of watch.served.others) seen.add(pool);
    clock.advance(5_000);
  }
  expect(Math.max(...asked)).toBe(512);
  expect([...seen].filter((pool) => pool.endsWith("7"))).toHaveLength(100);
});
