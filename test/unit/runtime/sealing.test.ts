import { expect, test } from "vitest";
import { LaunchFailure } from "../../../src/contract/causes.ts";
import { digestKeyId, keyedDigest, openSealed, plainDigest, sealSecrets } from "../../../src/runtime/sealing.ts";
import { parseSecretKeys } from "../../../src/runtime/secret-keys.ts";

const key = (id: string, fill: number) => `${id}:${Buffer.alloc(32, fill).toString("base64")}`;
const KEYS = parseSecretKeys(key("k1", 1), "test");
const FOR = { owner: "alice", vmId: "11111111-1111-4111-8111-111111111111" };
const SECRETS = { awsSecretAccessKey: "CANARY-SECRET", agentCertsToken: "t" };

function failureOf(action: () => unknown): LaunchFailure {
  try {
    action();
  } catch (error) {
    if (error instanceof LaunchFailure) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("what was sealed opens again, and the box shows nothing of it", () => {
  const box = sealSecrets(KEYS, FOR, SECRETS);
  expect(openSealed(KEYS, FOR, box)).toEqual(SECRETS);
  expect(box).toMatch(/^v1\.k1\.[A-Za-z0-9_-]+$/);
  expect(box).not.toContain("CANARY");
  expect(Buffer.from(box.split(".")[2] ?? "", "base64url").toString("latin1")).not.toContain("CANARY");
});

test("sealing the same secrets twice gives two boxes that share no bytes worth comparing", () => {
  const bytes = () => Buffer.from(sealSecrets(KEYS, FOR, SECRETS).split(".")[2] ?? "", "base64url");
  const [one, two] = [bytes(), bytes()];
  expect(one.subarray(0, 28).equals(two.subarray(0, 28))).toBe(false);
  expect(one.subarray(28).equals(two.subarray(28))).toBe(false);
});

test.each([
  ["another VM", { ...FOR, vmId: "22222222-2222-4222-8222-222222222222" }],
  ["another owner", { ...FOR, owner: "bob" }],
])("a box that was moved to %s does not open", (_what, other) => {
  const box = sealSecrets(KEYS, FOR, SECRETS);
  expect(failureOf(() => openSealed(KEYS, other, box)).failure.code).toBe("secret_unreadable");
});

test("owner and id are bound apart: no other cut of the same letters opens the box", () => {
  const box = sealSecrets(KEYS, { owner: "a|b", vmId: "c" }, SECRETS);
  expect(() => openSealed(KEYS, { owner: "a", vmId: "b|c" }, box)).toThrow(LaunchFailure);
});

test("every flipped byte of a box makes it unreadable, with a message that holds nothing of it", () => {
  const box = sealSecrets(KEYS, FOR, SECRETS);
  const [version, id, encoded = ""] = box.split(".");
  const bytes = Buffer.from(encoded, "base64url");
  for (let i = 0; i < bytes.length; i++) {
    const tampered = Buffer.from(bytes);
    tampered[i] = (tampered[i] ?? 0) ^ 0x01;
    const failure = failureOf(() => openSealed(KEYS, FOR, `${version}.${id}.${tampered.toString("base64url")}`));
    expect(failure.failure.code).toBe("secret_unreadable");
    expect(failure.message).not.toContain("CANARY");
    expect(failure.cause).toBeUndefined();
  }
});

test("a box whose key id was changed does not open, even if both keys are the same bytes", () => {
  const twins = parseSecretKeys(`${key("k1", 1)},${key("k2", 1)}`, "test");
  const box = sealSecrets(KEYS, FOR, SECRETS).replace("v1.k1.", "v1.k2.");
  expect(() => openSealed(twins, FOR, box)).toThrow(LaunchFailure);
});

test("after a change of the key the old one still opens and the new one seals", () => {
  const box = sealSecrets(KEYS, FOR, SECRETS);
  const rotated = parseSecretKeys(`${key("k2", 2)},${key("k1", 1)}`, "test");
  expect(openSealed(rotated, FOR, box)).toEqual(SECRETS);
  expect(sealSecrets(rotated, FOR, SECRETS)).toMatch(/^v1\.k2\./);
});

test.each([
  ["no key at all", undefined, /no secrets key.*"k1"/],
  ["other keys only", parseSecretKeys(key("k9", 9), "test"), /key "k1", which this host does not have \(it has: k9\)/],
])("a host with %s says which key the box needs", (_what, keys, message) => {
  const box = sealSecrets(KEYS, FOR, SECRETS);
  expect(failureOf(() => openSealed(keys, FOR, box)).message).toMatch(message);
});

test.each(["", "v1", "v1.k1", "v2.k1.AAAA", "v1.k1.AAAA.x", "v1.k1.", "v1.k1.AAAA"])("%j is no box", (text) => {
  expect(failureOf(() => openSealed(KEYS, FOR, text)).failure.code).toBe("secret_unreadable");
});

test("a keyed digest depends on the key, a plain one does not, and each says how it was made", () => {
  const other = parseSecretKeys(key("k1", 7), "test");
  expect(keyedDigest(KEYS, "k1", "text")).toBe(keyedDigest(KEYS, "k1", "text"));
  expect(keyedDigest(KEYS, "k1", "text")).not.toBe(keyedDigest(other, "k1", "text"));
  expect(digestKeyId(keyedDigest(KEYS, "k1", "text"))).toBe("k1");
  expect(digestKeyId(plainDigest("text"))).toBeUndefined();
});
