import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { withDefaults } from "../../../src/contract/batch-defaults.ts";
import type { VmSpec } from "../../../src/contract/vm-request.ts";
import { canSeal, itemRequest, vmBoxes } from "../../../src/queue/batch-vms.ts";
import { batchIdOf, vmIdOfItem } from "../../../src/runtime/batch-id.ts";
import { openSealed, sealSecrets } from "../../../src/runtime/sealing.ts";
import { parseSecretKeys } from "../../../src/runtime/secret-keys.ts";

const keys = parseSecretKeys(`k1:${randomBytes(32).toString("base64")}`, "test");
const others = parseSecretKeys(`k2:${randomBytes(32).toString("base64")}`, "test");
const batchId = batchIdOf("a batch");
const vmId = vmIdOfItem(batchId, 0);
const shared = sealSecrets(keys, { owner: "a", vmId: batchId }, { agentCertsToken: "shared" });

test("defaults stand under what an item says itself; labels are merged by name, an empty text hides a default", () => {
  const defaults: VmSpec = { labels: { a: "1", b: "1" }, ttl: "5m", pool: "large", attempts: 4 };
  const own: VmSpec = { labels: { b: "2", c: "2" }, ttl: "", name: "own" };
  expect(withDefaults(defaults, own)).toEqual({
    labels: { a: "1", b: "2", c: "2" },
    pool: "large",
    attempts: 4,
    name: "own",
  });
  expect(
    itemRequest({ defaults, pool: "default", attempts: 1 }, { ...own, gpu: true, queueTimeout: "2s" }),
  ).toMatchObject({
    pool: expect.stringMatching(/^large.*gpu/),
    priority: "normal",
    attempts: 4,
    queueTimeoutMs: 2_000,
  });
  expect(itemRequest({ defaults: {}, pool: "default", attempts: 1 }, {})).toMatchObject({
    pool: "default",
    attempts: 1,
  });
});

test("without shared secrets an item's own box is its VM's, whoever feeds it", () => {
  expect(canSeal({ shared: undefined }, undefined)).toBe(true);
  expect(vmBoxes({ owner: "a", batchId, shared: undefined }, undefined)(vmId, "own box")).toBe("own box");
  expect(vmBoxes({ owner: "a", batchId, shared: undefined }, keys)(vmId, undefined)).toBeUndefined();
});

test("shared secrets need their own key, and what cannot be opened reaches the launch, which says so", () => {
  expect([canSeal({ shared }, keys), canSeal({ shared }, others), canSeal({ shared }, undefined)]).toEqual([
    true,
    false,
    false,
  ]);
  const box = vmBoxes({ owner: "a", batchId, shared }, keys)(vmId, undefined);
  expect(openSealed(keys, { owner: "a", vmId }, box ?? "")).toEqual({ agentCertsToken: "shared" });
  for (const [owner, own] of [
    ["somebody else", undefined],
    ["a", "v1.k1.bm90IGEgYm94"],
  ] as const) {
    const unreadable = vmBoxes({ owner, batchId, shared }, keys)(vmId, own) ?? "";
    expect(() => openSealed(keys, { owner, vmId }, unreadable)).toThrow("tampered with");
  }
});
