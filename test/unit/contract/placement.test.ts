import fc from "fast-check";
import { expect, test } from "vitest";
import {
  askedPool,
  canServe,
  HostLabels,
  type HostOffer,
  hostPool,
  isBespoke,
  MemoryClass,
  type Needs,
  parsePlacementPool,
  placementPool,
  servedPools,
  TEE_NEEDS,
  unmetNeed,
} from "../../../src/contract/placement.ts";

const pool = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const hostId = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/);
const asked = fc.oneof(pool, hostId.map(hostPool));
const tee = fc.constantFrom(...TEE_NEEDS);
const memoryClass = fc.constantFrom("small", "large", "gpu", "snp", "x-1");
const labels = fc.dictionary(fc.constantFrom("zone", "disk", "mem", "gpu"), fc.constantFrom("a", "B.1", "mem.large"), {
  maxKeys: 3,
});
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const needs = fc.record({
  tee: maybe(tee),
  gpu: maybe(fc.boolean()),
  memoryClass: maybe(memoryClass),
  hostLabels: maybe(labels),
});
const offer = fc.record({
  pools: fc.array(pool, { maxLength: 3 }),
  hostId,
  tee,
  hasGpu: fc.boolean(),
  ownSize: fc.boolean(),
  memoryClasses: fc.array(memoryClass, { maxLength: 3 }),
  labels,
});

const HOST: HostOffer = {
  pools: ["a"],
  hostId: "h",
  tee: "snp",
  hasGpu: true,
  ownSize: true,
  memoryClasses: ["large"],
  labels: { zone: "a", disk: "ssd" },
};

/** What of a request decides where it may run. */
const kindOf = ({ tee: kind, gpu, memoryClass: memory, hostLabels = {} }: Needs) => ({
  tee: kind === "none" ? undefined : kind,
  gpu: gpu === true,
  memoryClass: memory,
  hostLabels: { ...hostLabels },
});

test.each<[Needs, string]>([
  [{}, "default"],
  [{ tee: "none", gpu: false, hostLabels: {} }, "default"],
  [{ tee: "snp" }, "default+snp"],
  [{ tee: "tdx", gpu: false }, "default+tdx"],
  [{ gpu: true }, "default+gpu"],
  [{ gpu: true, tee: "snp" }, "default+snp+gpu"],
  [{ memoryClass: "large" }, "default+mem.large"],
  [
    { hostLabels: { zone: "a", disk: "ssd" }, memoryClass: "large", gpu: true, tee: "snp" },
    "default+snp+gpu+mem.large+disk=ssd+zone=a",
  ],
])("a VM that needs %o waits in %s", (wanted, queue) => {
  expect(placementPool("default", wanted)).toBe(queue);
});

test("what a queue's name says can be read back, whatever was asked for, and no two demands share a queue", () => {
  fc.assert(
    fc.property(asked, needs, asked, needs, (a, b, c, d) => {
      expect(parsePlacementPool(placementPool(a, b))).toEqual({ asked: a, ...kindOf(b) });
      expect(askedPool(placementPool(a, b))).toBe(a);
      const sorted = (wanted: Needs) => {
        const { hostLabels, ...others } = kindOf(wanted);
        return JSON.stringify([others, Object.entries(hostLabels).sort()]);
      };
      expect(placementPool(a, b) === placementPool(c, d)).toBe(a === c && sorted(b) === sorted(d));
    }),
  );
});

test("labels in another order are the same need", () => {
  const pools = [
    { zone: "a", disk: "ssd" },
    { disk: "ssd", zone: "a" },
  ].map((hostLabels) => placementPool("p", { hostLabels }));
  expect(new Set(pools)).toEqual(new Set(["p+disk=ssd+zone=a"]));
});

test("a host serves exactly the queues of its pools whose needs it meets", () => {
  fc.assert(
    fc.property(offer, needs, fc.nat(), (host, wanted, pick) => {
      const known = [...host.pools, hostPool(host.hostId), "elsewhere", hostPool("elsewhere")];
      const name = known[pick % known.length] ?? "";
      const queue = placementPool(name, wanted);
      const { tee: kind, gpu, memoryClass: memory, hostLabels } = kindOf(wanted);
      const meets =
        [...host.pools, hostPool(host.hostId)].includes(name) &&
        (kind === undefined || kind === host.tee) &&
        (!gpu || host.hasGpu) &&
        (memory === undefined ? host.ownSize : host.memoryClasses.some((name) => name === memory)) &&
        Object.entries(hostLabels).every(([label, value]) => host.labels[label] === value);
      expect(canServe(host, queue)).toBe(meets);
    }),
  );
});

test("a host looks from its start on at all that it serves but the queues with classes and labels", () => {
  fc.assert(
    fc.property(offer, needs, fc.nat(), (some, wanted, pick) => {
      const host = { ...some, ownSize: true };
      const known = [...host.pools, hostPool(host.hostId), "elsewhere"];
      const queue = placementPool(known[pick % known.length] ?? "", wanted);
      const { gpu, others } = servedPools(host);
      expect([...gpu, ...others].includes(queue)).toBe(canServe(host, queue) && !isBespoke(queue));
      expect(gpu.includes(queue)).toBe(canServe(host, queue) && !isBespoke(queue) && wanted.gpu === true);
    }),
  );
});

test("a host serves its own pool as any other, and what asks for the GPU apart", () => {
  expect(servedPools({ pools: ["a", "b"], hostId: "h", tee: "snp", hasGpu: true })).toEqual({
    gpu: ["a+gpu", "a+snp+gpu", "b+gpu", "b+snp+gpu", "@h+gpu", "@h+snp+gpu"],
    others: ["a", "a+snp", "b", "b+snp", "@h", "@h+snp"],
  });
  expect(servedPools({ pools: ["a"], hostId: "h", tee: "none", hasGpu: false })).toEqual({
    gpu: [],
    others: ["a", "@h"],
  });
});

test.each([
  ["a", undefined],
  ["@h+mem.large+disk=ssd+zone=a", undefined],
  ["b", "pool"],
  ["@other", "pool"],
  ["a+tdx", "tee"],
  ["a+mem.small", "memory_class"],
  ["a+zone=b", "host_labels"],
  ["a+disk=ssd+rack=1", "host_labels"],
  ["a+quantum", "unknown"],
])("of the queue %s a host lacks %s", (queue, missing) => {
  expect(unmetNeed(HOST, queue)).toBe(missing);
});

test.each(["+", "a+b", "a=b", "A", "-a", "a-", "a.b", "", "a".repeat(21), "ü"])(
  "%j is no memory class: it would not be fit for the name of a queue",
  (name) => expect(MemoryClass.safeParse(name).success).toBe(false),
);

test.each([
  { "a=b": "c" },
  { a: "b+c" },
  { a: "b=c" },
  { a: "" },
  { A: "b" },
  { a: "b".repeat(31) },
  { a: "1", b: "1", c: "1", d: "1", e: "1" },
])("%o are no host labels", (wanted) => expect(HostLabels.safeParse(wanted).success).toBe(false));
