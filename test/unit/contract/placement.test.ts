import fc from "fast-check";
import { expect, test } from "vitest";
import { askedPool, hostPool, placementPool, servedPools, TEE_NEEDS } from "../../../src/contract/placement.ts";

const pool = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const hostId = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/);
const tee = fc.constantFrom(...TEE_NEEDS);
const needs = fc.record(
  { tee: fc.option(tee, { nil: undefined }), gpu: fc.option(fc.boolean(), { nil: undefined }) },
  { noNullPrototype: true },
);

test.each([
  [{}, "default"],
  [{ tee: "none", gpu: false }, "default"],
  [{ tee: "snp" }, "default+snp"],
  [{ tee: "tdx", gpu: false }, "default+tdx"],
  [{ gpu: true }, "default+gpu"],
  [{ gpu: true, tee: "snp" }, "default+snp+gpu"],
] as const)("a VM that needs %o waits in %s", (asked, queue) => {
  expect(placementPool("default", asked)).toBe(queue);
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

test("a host looks in a VM's queue exactly when it serves its pool and has what the VM needs", () => {
  const host = fc.record({ pools: fc.array(pool, { maxLength: 3 }), hostId, tee, hasGpu: fc.boolean() });
  fc.assert(
    fc.property(host, needs, fc.nat(), (offer, asked, pick) => {
      const known = [...offer.pools, hostPool(offer.hostId), "elsewhere", hostPool("elsewhere")];
      const wanted = known[pick % known.length] ?? "";
      const served = servedPools(offer);
      const queue = placementPool(wanted, asked);
      const inPool = [...offer.pools, hostPool(offer.hostId)].includes(wanted);
      const hasTee = asked.tee === undefined || asked.tee === "none" || asked.tee === offer.tee;
      const hasGpu = asked.gpu !== true || offer.hasGpu;
      expect([...served.gpu, ...served.others].includes(queue)).toBe(inPool && hasTee && hasGpu);
      expect(served.gpu.includes(queue)).toBe(inPool && hasTee && hasGpu && asked.gpu === true);
    }),
  );
});

test("the pool that was asked for can be read back, and no two demands share a queue", () => {
  fc.assert(
    fc.property(
      fc.oneof(pool, hostId.map(hostPool)),
      needs,
      fc.oneof(pool, hostId.map(hostPool)),
      needs,
      (a, b, c, d) => {
        expect(askedPool(placementPool(a, b))).toBe(a);
        const kind = (asked: typeof b) => [asked.tee === "none" ? undefined : asked.tee, asked.gpu === true];
        const same = a === c && JSON.stringify(kind(b)) === JSON.stringify(kind(d));
        expect(placementPool(a, b) === placementPool(c, d)).toBe(same);
      },
    ),
  );
});
