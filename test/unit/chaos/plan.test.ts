import { expect, test } from "vitest";
import { makePlan, planOptions } from "../../chaos/plan.ts";
import { Random } from "../../chaos/random.ts";

const plan = (seed: string, runS = 120) => makePlan(planOptions({ seed, runS }));

test("a seed gives one plan, and another seed another one", () => {
  expect(plan("7")).toEqual(plan("7"));
  expect(plan("7").faults).not.toEqual(plan("8").faults);
  expect(plan("7").ops).not.toEqual(plan("8").ops);
});

test("over a few seeds every kind of fault comes, and every policy", () => {
  const plans = Array.from({ length: 20 }, (_, seed) => plan(String(seed)));
  const kinds = new Set(plans.flatMap(({ faults }) => faults.map(({ kind }) => kind)));
  expect([...kinds].sort()).toEqual([
    "api-kill",
    "black-hole",
    "cut-after",
    "foreign-port",
    "half-open",
    "latency",
    "qemu-kill",
    "qemu-pause",
    "redis-kill",
    "reset",
    "worker-kill",
    "worker-pause",
    "worker-term",
  ]);
  const policies = new Set(plans.map(({ policy, onPartition }) => `${policy} + ${onPartition}`));
  expect(policies).toEqual(new Set(["rerun + keep", "rerun + stop", "hold + keep", "hold + stop"]));
  expect(plans.some(({ faults }) => faults.some(({ kind, amount }) => kind === "worker-kill" && amount < 10))).toBe(
    true,
  );
});

test("only a run that says so loses data", () => {
  expect(plan("9").dataLoss).toBe(false);
  expect(plan("9-loss")).toMatchObject({ dataLoss: true });
  expect(plan("9-loss").faults.map(({ kind }) => kind)).toContain("redis-flush");
});

test("a target is broken by one fault at a time", () => {
  const ends = new Map<string, number>();
  for (const { atMs, target, forMs } of plan("11", 600).faults) {
    if (target === "any") continue;
    expect(atMs).toBeGreaterThanOrEqual(ends.get(target) ?? 0);
    ends.set(target, atMs + forMs);
  }
});

test("a VM of which its client may never hear ends by itself", () => {
  const careless = plan("12", 600).ops.filter((op) => op.kind === "submit" && op.careless);
  expect(careless.length).toBeGreaterThan(20);
  expect(careless.every(({ ttlMs }) => ttlMs !== undefined)).toBe(true);
});

test("numbers are spread evenly and weights are kept", () => {
  const random = new Random("even");
  const numbers = Array.from({ length: 10_000 }, () => random.int(1, 4));
  for (const number of [1, 2, 3, 4])
    expect(numbers.filter((one) => one === number).length / 10_000).toBeCloseTo(0.25, 1);
  const words = Array.from({ length: 10_000 }, () => random.weighted({ often: 9, seldom: 1, never: 0 }));
  expect(words.filter((word) => word === "seldom").length / 10_000).toBeCloseTo(0.1, 1);
  expect(words).not.toContain("never");
});
